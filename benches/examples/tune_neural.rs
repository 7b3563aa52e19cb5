//! local
use burnrec_data::read::{ReadOptions, read};
use burnrec_data::split::SplitConfig;
use burnrec_data::{Prepared, filter::Filters};
use burnrec_models::{DeviceChoice, device};
use burnrec_train::evaluate::{EvaluateOptions, evaluate};
use burnrec_train::metrics::Metric;
use burnrec_train::burn::BurnLearner;
use burnrec_train::{Learner, Silent, TrainConfig};
use mimalloc::MiMalloc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let dataset = read(args[0].as_ref(), &ReadOptions::default()).unwrap().dataset;
    let seed = args[1].parse().unwrap();
    let split = SplitConfig::LeaveOneOut { candidates: Some(99) };
    let data = Prepared::build(dataset.clone(), None, Vec::new(), &Filters::default(), &split, seed).unwrap();
    let train = data.split.train.to_csr(data.users.len(), data.items.len());
    let device = device::open(DeviceChoice::Cpu).unwrap();
    for name in &args[2..] {
        let table: toml::Table = toml::from_str(&name.replace(',', "\n")).unwrap();
        let config = TrainConfig::from_table(table).unwrap();
        let mut learner = BurnLearner::new(&train, &config.model, config.burn.as_ref().unwrap(), config.run.seed, &device).unwrap();
        let options = EvaluateOptions { ks: vec![10], resamples: 0, ..Default::default() };
        println!("== {name}");
        let mut best = (0.0, 0, 0.0, 0.0, 0.0);
        let mut fit = 0.0;
        for epoch in 1..=config.run.epochs {
            let start = Instant::now();
            let loss = learner.epoch(&Silent).unwrap();
            let seconds = start.elapsed().as_secs_f64();
            fit += seconds;
            if epoch % config.run.eval_every != 0 && epoch != config.run.epochs { continue; }
            let start = Instant::now();
            let model = learner.model();
            let get = |holdout| { let s = evaluate(&*model, holdout, &train, &options, &Silent).unwrap(); (s.value(Metric::Hr(10)).unwrap(), s.value(Metric::Ndcg(10)).unwrap()) };
            let (hr, ndcg) = get(&data.split.valid);
            let (thr, tndcg) = get(&data.split.test);
            println!("{epoch:3} loss {:.4} valid {hr:.4} {ndcg:.4} | {seconds:.1} s {:.0} k/s, judged {:.1} s", loss.total.unwrap(), loss.samples as f64 / seconds / 1e3, start.elapsed().as_secs_f64());
            if ndcg > best.0 { best = (ndcg, epoch, thr, tndcg, fit); }
        }
        println!("BEST valid {:.4} epoch {} test-without-refit {:.4} {:.4} fit {:.0} s of {fit:.0} :: {name}", best.0, best.1, best.2, best.3, best.4);
    }
}
