//! Tests of what is counted.

use super::*;

#[test]
fn a_bad_record_of_the_state_is_no_rollback() {
    let metrics = Metrics::default();
    metrics.bad_record("no JSON");
    let text = metrics.text(Elsewhere::default(), None);
    assert!(text.contains("\nburnrec_bad_state_records_total 1\n"), "{text}");
    assert!(!text.contains("burnrec_rollbacks_total{"), "{text}");
}

#[test]
fn the_lag_of_a_partition_that_went_goes_with_it() {
    let metrics = Metrics::default();
    let of = |partition| PartitionLabels { topic: "requests".into(), partition };
    let lags = |parts: &[(i32, i64)]| parts.iter().map(|&(part, lag)| (of(part), lag)).collect();
    metrics.lags_of("worker 0", lags(&[(0, 5), (1, 7)]));
    metrics.lags_of("worker 1", lags(&[(2, 9)]));
    metrics.revoked(&[TopicPartition { topic: 1, partition: 0 }], &["other".into(), "requests".into()]);
    assert_eq!(metrics.lags(), lags(&[(1, 7), (2, 9)]));
    metrics.lags_of("worker 0", lags(&[(3, 1)]));
    assert_eq!(metrics.lags(), lags(&[(2, 9), (3, 1)]), "what statistics no longer name is gone too");
    metrics.lags_of("worker 1", lags(&[(3, 2)]));
    metrics.lags_of("worker 0", lags(&[]));
    assert_eq!(metrics.lags(), lags(&[(3, 2)]), "another has taken it up");
    let text = metrics.text(Elsewhere::default(), None);
    let found: Vec<&str> = text.lines().filter(|line| line.starts_with("kafka_consumer_lag{")).collect();
    assert_eq!(found, [r#"kafka_consumer_lag{topic="requests",partition="3"} 2"#]);
}

#[test]
fn whether_it_is_ready_is_a_series() {
    let metrics = Metrics::default();
    for (ready, line) in [(false, "\nburnrec_ready 0\n"), (true, "\nburnrec_ready 1\n")] {
        let text = metrics.text(Elsewhere { ready, ..Elsewhere::default() }, None);
        assert!(text.contains(line), "{text}");
    }
}
