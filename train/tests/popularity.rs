//! Popularity on ml-1m under the NCF protocol must give the published numbers (HR@10 .4535, NDCG@10 .2543: He et al.
//! 2017, figure 4, as checked by Rendle et al. 2020): the split, the drawing of candidates and the evaluation are then
//! right.

use burnrec_data::filter::{self, Filters};
use burnrec_data::read::{ReadOptions, read};
use burnrec_data::split::{SplitConfig, split};
use burnrec_data::testing::real_data;
use burnrec_models::Silent;
use burnrec_models::popularity::Popularity;
use burnrec_train::evaluate::{EvaluateOptions, evaluate};
use burnrec_train::metrics::Metric;

#[test]
fn popularity_has_its_published_numbers() {
    let Some(folder) = real_data("ml-1m") else { return };
    let dataset = read(&folder, &ReadOptions::default()).unwrap().dataset;
    let (dataset, _) = filter::apply(dataset, &Filters::default()).unwrap();
    let (mut hr, mut ndcg) = (0.0, 0.0);
    for seed in [1, 2, 3] {
        let config = SplitConfig::LeaveOneOut { candidates: Some(99) };
        let (split, _) = split(&dataset, &config, seed).unwrap();
        // The model is judged on test after it has learned from train and the rows of valid, as in the paper.
        let mut rows = split.train;
        for k in 0..split.valid_rows.len() {
            let valid = &split.valid_rows;
            rows.push(valid.users[k], valid.items[k], valid.values[k], valid.times[k]);
        }
        let train = rows.to_csr(dataset.users.len(), dataset.items.len());
        let options = EvaluateOptions { ks: vec![10], ..Default::default() };
        let scores = evaluate(&Popularity::new(&train), &split.test, &train, &options, &Silent).unwrap();
        assert_eq!((scores.protocol.as_str(), scores.users), ("99 drawn candidates", 6040));
        hr += scores.value(Metric::Hr(10)).unwrap() / 3.0;
        ndcg += scores.value(Metric::Ndcg(10)).unwrap() / 3.0;
    }
    eprintln!("popularity on ml-1m: HR@10 {hr:.4}, NDCG@10 {ndcg:.4}");
    assert!((hr - 0.4535).abs() < 0.015, "HR@10 {hr}");
    assert!((ndcg - 0.2543).abs() < 0.015, "NDCG@10 {ndcg}");
}
