//! `export` and `import`: runs in the formats of other programs.

use std::path::Path;

use anyhow::{Context, Result};
use burnrec::data::read::{ReadOptions, read};
use burnrec::interchange::onnx::{OnnxGraph, write_onnx};
use burnrec::interchange::spark::{self, WrittenSparkAls, write_spark_als};
use burnrec::interchange::{FactorTable, hub, mlflow, write_factors};
use burnrec::models::saved;
use burnrec::{AlsConfig, Recommender};

use super::opening::for_pairs;
use crate::cli::{Export, ExportFormat, Graph, Import};
use crate::layers::settings;
use crate::show;

pub fn run(args: Export) -> Result<()> {
    let out = args.out.display();
    let open = || Recommender::open_on(&args.run, for_pairs(args.device.choice, 0));
    let of_run = || args.run.display().to_string();
    match args.format {
        ExportFormat::Factors => {
            for FactorTable { path, rows, dim } in write_factors(&open()?, &args.out).with_context(of_run)? {
                show::say(format_args!("{}: {rows} rows of {dim} factors", path.display()))?;
            }
            Ok(())
        }
        ExportFormat::SparkAls => {
            let written = write_spark_als(&open()?, &args.out).with_context(of_run)?;
            let WrittenSparkAls { uid, rank, n_users, n_items, renumbered } = written;
            for side in renumbered {
                let ids = args.out.join(format!("{side}Ids"));
                let why = "as their ids are no integers of 32 bits";
                eprintln!("warning: Spark gets numbers for {side}s, {why}: {}", ids.display());
            }
            Ok(show::say(format_args!("{out}: {uid}, rank {rank}, {n_users} users, {n_items} items"))?)
        }
        ExportFormat::Onnx => {
            let graph = match args.graph {
                Graph::Score => OnnxGraph::Score,
                Graph::Topk => OnnxGraph::TopK,
            };
            let bytes = write_onnx(&open()?, graph, &args.out).with_context(of_run)?;
            Ok(show::say(format_args!("{out}: {bytes} bytes"))?)
        }
        ExportFormat::Mlflow => {
            mlflow::write_mlflow_model(&args.run, &args.out)?;
            let next = "mlflow.pyfunc.load_model";
            Ok(show::say(format_args!("{out}: a model of MLflow; next: {next}(\"{out}\")"))?)
        }
        ExportFormat::Hub => {
            hub::write_hub(&args.run, &args.out)?;
            eprintln!("{out} has the histories of its users: publish it only if these may be published");
            Ok(show::say(format_args!("{out}: a folder of the Hub; next: hf upload OWNER/NAME {out}"))?)
        }
    }
}

/// What Spark's `ALS` has where nothing is set, as settings that others may be laid over.
const SPARK: &str = "convention = 'spark'\nfeedback = 'explicit'\nreg = 0.1\nclip = false";

pub fn import(args: Import) -> Result<()> {
    let table = settings(SPARK, &args.settings.set)?;
    let config: AlsConfig = table.try_into().context("--set")?;
    saved::make_room(&args.out, args.force)?;
    let ratings =
        args.ratings.as_deref().map(|ratings: &Path| read(ratings, &ReadOptions::default())).transpose()?;
    let run = spark::import(&args.dir, config, ratings.as_ref().map(|ratings| &ratings.dataset))?;
    run.save(&args.out)?;
    if ratings.is_none() {
        eprintln!("without --ratings no histories are known: users are recommended what they have had, too");
    }
    show::say(format_args!(
        "{0}: als with {1} users and {2} items; next: burnrec recommend {0} --user ID",
        args.out.display(),
        run.users.vocab().len(),
        run.items.vocab().len()
    ))?;
    Ok(())
}
