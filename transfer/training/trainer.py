"""The model that Keras trains: a classifier's own layers, on the features of its frozen ones."""

from collections.abc import Callable
from functools import partial

from transfer.core.runtime import keras, tf
from transfer.training.strategy import Replicas


class Trainer(keras.Model):
    """Train a classifier's own layers, those of the base in inference mode, on the features that
    the frozen ones among them give.

    Keras up to 3.15 overrides `base(x, training=False)` inside a Functional model during `fit`
    (keras#20285): BatchNormalization would then normalise by the batch and ruin the base's moving
    statistics. Called from here, the base's mode is what is said; gamma and beta may still train.
    """

    def __init__(self, live: keras.Model, classifier: keras.Model):
        super().__init__()
        self.live = live
        self.head = classifier.get_layer("head").layers[1:]  # `live` ends with the pooling

    def call(self, features, training: bool = False):
        x = self.live(keras.tree.flatten(features), training=False)
        for layer in self.head:
            x = layer(x, training=training)
        return x


class SharedTrainer(Trainer):
    """Train on batches that replicas share out (transfer.training.strategy.SharedBatches).

    Gradients, loss and accuracy are those of the whole batch, in every process. Each replica has
    random numbers of its own for dropout: the next ones of its process' stream, whose seed is the
    process' number further.
    """

    def __init__(self, live: keras.Model, classifier: keras.Model, replicas: Replicas):
        super().__init__(live, classifier)
        self.replicas = replicas
        loss, self.right_of = _loss_and_accuracy(classifier)
        self.loss_of = loss.call  # picture by picture
        self.scores = [keras.metrics.Mean("loss"), keras.metrics.Mean("accuracy")]

    def fit(self, *arguments, **options):
        for layer in self.head:
            if isinstance(layer, keras.layers.Dropout) and layer.rate:
                layer.seed_generator.state.assign_add([self.replicas.worker, 0])
        return super().fit(*arguments, **options)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return self.scores

    def train_step(self, data: tuple) -> dict[str, tf.Tensor]:
        variables = self.trainable_variables
        flat = self.replicas.sum(partial(self._sums, variables), *data)
        shapes = [variable.shape for variable in variables]
        *gradients, scores = tf.split(flat, [*(shape.num_elements() for shape in shapes), 3])
        gradients = [tf.reshape(g, shape) for g, shape in zip(gradients, shapes, strict=True)]
        self.optimizer.apply(gradients, variables)
        return self._update(scores)

    def test_step(self, data: tuple) -> dict[str, tf.Tensor]:
        return self._update(self.replicas.sum(partial(self._sums, ()), *data))

    def _sums(self, variables: list, x, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Return what a replica adds to gradients, mean loss, right answers and pictures of a
        batch, in one vector."""
        with tf.GradientTape() as tape:
            logits = self(x, training=bool(variables))
            loss = tf.reduce_sum(weights * self.loss_of(targets, logits))
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        own = tf.cast(weights > 0, tf.float32)
        right = tf.reduce_sum(own * tf.reshape(self.right_of(targets, logits), [-1]))
        scores = tf.stack([loss, right, tf.reduce_sum(own)])
        return tf.concat([*(tf.reshape(g, [-1]) for g in gradients), scores], axis=0)

    def _update(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        loss, right, pictures = tf.unstack(scores)
        for metric, mean in zip(self.scores, (loss, right / pictures), strict=True):
            metric.update_state(mean, sample_weight=pictures)
        return self.get_metrics_result()


def compile_for(
    trainer: Trainer, classifier: keras.Model, optimizer: keras.optimizers.Optimizer
) -> None:
    """Compile a trainer with the loss and the accuracy that the classifier's logits ask for."""
    if any(layer.compute_dtype == "float16" for layer in trainer.live.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss, right = _loss_and_accuracy(classifier)
    accuracy = keras.metrics.MeanMetricWrapper(right, name="accuracy")
    # XLA makes MobileNetV2's convolutions 20 times slower on a CPU.
    trainer.compile(optimizer, loss, metrics=[accuracy], jit_compile=False)
    trainer.optimizer.build(trainer.trainable_variables)


def _loss_and_accuracy(classifier: keras.Model) -> tuple[keras.losses.Loss, Callable]:
    if classifier.output_shape[-1] == 1:
        return keras.losses.BinaryCrossentropy(from_logits=True), _same_side
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return loss, keras.metrics.categorical_accuracy


def _same_side(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return where a logit and a target, which may be smoothed or mixed, mean the same class."""
    return tf.cast((targets > 0.5) == (logits > 0), tf.float32)
