"""The estimator where Spark expects one of its own."""

import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import SQLTransformer
from pyspark.ml.recommendation import ALS as SparkALS
from pyspark.ml.recommendation import ALSModel as SparkALSModel
from pyspark.ml.tuning import CrossValidator, CrossValidatorModel, ParamGridBuilder, TrainValidationSplit
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


@pytest.mark.parametrize("own", [{}, {"unobservedWeight": 0.25, "solver": "cg"}])
def test_an_estimator_inside_another_is_saved_as_it_is(spark, tmp_path, own):
    als = ALS(rank=7, **own)
    grid = ParamGridBuilder().addGrid(als.regParam, [0.1, 0.2]).build()
    evaluator = RegressionEvaluator()
    settings = {"estimatorParamMaps": grid, "evaluator": evaluator}
    for at, outer in enumerate(
        [
            Pipeline(stages=[als]),
            CrossValidator(estimator=als, **settings),
            CrossValidator(estimator=Pipeline(stages=[als]), **settings),
            TrainValidationSplit(estimator=als, **settings),
        ]
    ):
        outer.save(str(tmp_path / f"{at}"))
        loaded = type(outer).load(str(tmp_path / f"{at}"))
        if not isinstance(loaded, Pipeline):
            assert [list(point.values()) for point in loaded.getEstimatorParamMaps()] == [[0.1], [0.2]]
            loaded = loaded.getEstimator()
        inner = loaded.getStages()[0] if isinstance(loaded, Pipeline) else loaded
        assert type(inner) is ALS and inner.uid == als.uid and isinstance(inner, SparkALS)
        assert inner.extractParamMap() == als.extractParamMap()


def test_a_fitted_cross_validation_is_saved_and_loaded(ratings, tmp_path):
    als = ALS(solver="cg", **SETTINGS)
    evaluator = RegressionEvaluator(metricName="rmse", labelCol="rating", predictionCol="prediction")
    fitted = CrossValidator(estimator=als, estimatorParamMaps=[{}], evaluator=evaluator, numFolds=2, seed=1).fit(
        ratings
    )
    fitted.save(str(tmp_path / "fitted"))
    loaded = CrossValidatorModel.load(str(tmp_path / "fitted"))
    assert type(loaded.getEstimator()) is ALS and loaded.avgMetrics == fitted.avgMetrics
    assert isinstance(loaded.bestModel, SparkALSModel) and loaded.bestModel.rank == 4


def test_the_params_of_spark_are_all_there(spark):
    theirs, ours = SparkALS(), ALS()
    for param in theirs.params:
        if param.name != "seed" and theirs.hasDefault(param):
            assert ours.getOrDefault(param.name) == theirs.getOrDefault(param), param.name
