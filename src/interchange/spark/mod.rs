//! Directories of Spark's `ALSModel`, as `org.apache.spark.ml.recommendation.ALSModel.load` reads and `save` writes them.
//!
//! ```text
//! metadata/part-00000           one line of JSON: class, uid, rank, parameters
//! userFactors/*.parquet         id INT32, features LIST of FLOAT
//! itemFactors/*.parquet         the same
//! userIds/, itemIds/            id INT32, user or item: the outside ids, where they are no integers of 32 bits
//! ```
//!
//! The last two are burnrec's; Spark passes over them. The layout is that of `ml/recommendation/ALS.scala` and
//! `ml/util/ReadWrite.scala` of Apache Spark 3.5 to 4.2.

mod read;
mod write;

pub use read::{SparkAls, default_settings, import};
pub use write::{WrittenSparkAls, write_spark_als};

const CLASS: &str = "org.apache.spark.ml.recommendation.ALSModel";
const PIPELINE: &str = "org.apache.spark.ml.PipelineModel";
const METADATA: &str = "metadata";
const FEATURES: &str = "features";
const ID: &str = "id";

/// The users or the items of a directory.
#[derive(Clone, Copy)]
struct Side {
    /// The name of the column of outside ids.
    name: &'static str,
    /// The folder of factors.
    factors: &'static str,
    /// The folder of outside ids.
    ids: &'static str,
}

const USERS: Side = Side { name: "user", factors: "userFactors", ids: "userIds" };
const ITEMS: Side = Side { name: "item", factors: "itemFactors", ids: "itemIds" };
