"""The estimator where Spark expects one of its own."""

import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.recommendation import ALSModel as SparkALSModel
from pyspark.ml.tuning import CrossValidator, ParamGridBuilder
from pyspark.sql import functions as F

from burnrec.spark import ALS
from spark import problem

SETTINGS = {
    "rank": 4,
    "maxIter": 2,
    "seed": problem.SEED,
    "numUserBlocks": 2,
    "numItemBlocks": 2,
    "coldStartStrategy": "drop",
}


def test_a_pipeline_is_saved_and_loaded(ratings, tmp_path):
    doubled = SQLTransformer(statement="SELECT user, item, rating * 2 AS twice FROM __THIS__")
    als = ALS(ratingCol="twice", **SETTINGS).setPredictionCol("score")
    fitted = Pipeline(stages=[doubled, als]).fit(ratings)
    fitted.write().overwrite().save(str(tmp_path / "pipeline"))
    loaded = PipelineModel.load(str(tmp_path / "pipeline"))
    model = loaded.stages[1]
    assert isinstance(model, SparkALSModel)
    assert (model.getColdStartStrategy(), model.getPredictionCol()) == ("drop", "score")
    sums = [pipeline.transform(ratings).agg(F.sum("score")).first()[0] for pipeline in (fitted, loaded)]
    assert sums[0] == pytest.approx(sums[1])
    assert loaded.transform(ratings).count() == ratings.count()


def test_cross_validation_chooses_among_settings(ratings):
    als = ALS(solver="cg", **SETTINGS)
    grid = ParamGridBuilder().addGrid(als.regParam, [0.1, 50.0]).build()
    evaluator = RegressionEvaluator(metricName="rmse", labelCol="rating", predictionCol="prediction")
    chosen = CrossValidator(estimator=als, estimatorParamMaps=grid, evaluator=evaluator, numFolds=2, seed=1).fit(
        ratings
    )
    assert chosen.avgMetrics[0] < chosen.avgMetrics[1]
    assert isinstance(chosen.bestModel, SparkALSModel) and chosen.bestModel.rank == 4


def test_an_estimator_is_saved_with_its_own_params(spark, tmp_path):
    als = ALS(rank=7, unobservedWeight=0.25, solver="cg")
    als.save(str(tmp_path / "als"))
    loaded = ALS.load(str(tmp_path / "als"))
    assert (loaded.getRank(), loaded.getOrDefault("unobservedWeight"), loaded.getOrDefault("solver")) == (7, 0.25, "cg")
    assert loaded.uid == als.uid and loaded.getSeed() == 42
    with pytest.raises(ValueError, match="unobservedWeight"):
        Pipeline(stages=[als]).save(str(tmp_path / "lost"))


def test_the_params_of_spark_are_all_there(spark):
    from pyspark.ml.recommendation import ALS as SparkALS

    theirs, ours = SparkALS(), ALS()
    for param in theirs.params:
        if param.name != "seed" and theirs.hasDefault(param):
            assert ours.getOrDefault(param.name) == theirs.getOrDefault(param), param.name
