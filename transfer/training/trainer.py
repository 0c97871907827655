"""The model that Keras trains: a classifier's live layers, on the features of its frozen ones."""

from collections.abc import Callable
from functools import partial

from transfer.core.runtime import keras, tf
from transfer.training.strategy import Replicas


class Trainer(keras.Model):
    """The live layers of a classifier: those of the base in inference mode, then the head.

    Keras up to 3.15 overrides `base(x, training=False)` inside a Functional model during `fit`
    (keras#20285): BatchNormalization would then normalize by the batch and ruin the base's moving
    statistics. A base that is called from here runs in the mode it is given; gamma and beta may
    still train.
    """

    def __init__(self, live: keras.Model, classifier: keras.Model) -> None:
        """Share the layers of a classifier.

        Args:
            live: From features, float32 tensors [B, …], to the pooled output of the base, [B, D].
            classifier: Its head is applied to that output.
        """
        super().__init__()
        self.live = live
        self.head = classifier.get_layer("head").layers[1:]  # `live` ends with the pooling

    def call(
        self, features: tf.Tensor | tuple[tf.Tensor, ...], training: bool = False
    ) -> tf.Tensor:
        """Return logits, [B, 1] or [B, classes].

        Args:
            features: The inputs of the live layers, float32 [B, …].
            training: Whether dropout is active.
        """
        x = self.live(keras.tree.flatten(features), training=False)
        for layer in self.head:
            x = layer(x, training=training)
        return x


class SharedTrainer(Trainer):
    """Train on batches that are split among replicas (transfer.training.strategy.SharedBatches).

    Gradients, loss and accuracy are those of the whole batch, in every process. For dropout each
    replica has its own random numbers: the next ones of its process' stream, whose seed is offset
    by the number of the process.
    """

    def __init__(self, live: keras.Model, classifier: keras.Model, replicas: Replicas) -> None:
        """Share the layers of a classifier.

        Args:
            live: As for `Trainer`.
            classifier: As for `Trainer`; its logits decide which loss is used.
            replicas: The devices that share each batch.
        """
        super().__init__(live, classifier)
        self.replicas = replicas
        loss, self.is_correct = _loss_and_accuracy(classifier)
        self.loss_of = loss.call  # of each image, not their mean
        self.scores = [keras.metrics.Mean("loss"), keras.metrics.Mean("accuracy")]

    def fit(self, *arguments: object, **options: object) -> keras.callbacks.History:
        """Offset the seeds of dropout by the number of the process, and train.

        Args:
            arguments: Those of `keras.Model.fit`.
            options: Those of `keras.Model.fit`.
        """
        for layer in self.head:
            if isinstance(layer, keras.layers.Dropout) and layer.rate:
                layer.seed_generator.state.assign_add([self.replicas.worker, 0])
        return super().fit(*arguments, **options)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Return the metrics that Keras resets before each epoch."""
        return self.scores

    def train_step(self, data: tuple) -> dict[str, tf.Tensor]:
        """Train on one batch and return the scores of the epoch so far.

        Args:
            data: The rows of this process' replicas: features, targets and weights.
        """
        variables = self.trainable_variables
        flat = self.replicas.sum(partial(self._sums, variables), *data)
        shapes = [variable.shape for variable in variables]
        *gradients, scores = tf.split(flat, [*(shape.num_elements() for shape in shapes), 3])
        gradients = [tf.reshape(g, shape) for g, shape in zip(gradients, shapes, strict=True)]
        self.optimizer.apply(gradients, variables)
        return self._update(scores)

    def test_step(self, data: tuple) -> dict[str, tf.Tensor]:
        """Score one batch and return the scores of the epoch so far.

        Args:
            data: As for `train_step`.
        """
        return self._update(self.replicas.sum(partial(self._sums, ()), *data))

    def _sums(
        self,
        variables: list[keras.Variable] | tuple[()],
        features: tf.Tensor | tuple[tf.Tensor, ...],
        targets: tf.Tensor,
        weights: tf.Tensor,
    ) -> tf.Tensor:
        """Return the summands of one replica in the sums over a batch.

        Args:
            variables: To be trained; none: only score.
            features: The inputs of the live layers, float32 [B, …].
            targets: float32 [B, 1] or [B, classes].
            weights: Weight of each image in the mean loss, float32 [B]; 0: not in this batch.

        Returns:
            float32 [P + 3]: the gradients, flat, then mean loss, correct predictions and images.
        """
        with tf.GradientTape() as tape:
            logits = self(features, training=bool(variables))
            loss = tf.reduce_sum(weights * self.loss_of(targets, logits))
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        own = tf.cast(weights > 0, tf.float32)
        correct = tf.reduce_sum(own * tf.reshape(self.is_correct(targets, logits), [-1]))
        scores = tf.stack([loss, correct, tf.reduce_sum(own)])
        return tf.concat([*(tf.reshape(g, [-1]) for g in gradients), scores], axis=0)

    def _update(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """Add a batch to the metrics of the epoch; `scores`: the last three of `_sums`."""
        loss, correct, image_count = tf.unstack(scores)
        for metric, mean in zip(self.scores, (loss, correct / image_count), strict=True):
            metric.update_state(mean, sample_weight=image_count)
        return self.get_metrics_result()


def compile_for(
    trainer: Trainer, classifier: keras.Model, optimizer: keras.optimizers.Optimizer
) -> None:
    """Compile a trainer with the loss and the accuracy that suit the classifier's logits.

    Args:
        trainer: Compiled in place.
        classifier: Has one logit for two classes, or else one per class.
        optimizer: Not built yet; its loss is scaled where the live layers compute in float16.
    """
    if any(layer.compute_dtype == "float16" for layer in trainer.live.layers):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    loss, is_correct = _loss_and_accuracy(classifier)
    accuracy = keras.metrics.MeanMetricWrapper(is_correct, name="accuracy")
    # XLA makes MobileNetV2's convolutions 20 times slower on a CPU.
    trainer.compile(optimizer, loss, metrics=[accuracy], jit_compile=False)
    trainer.optimizer.build(trainer.trainable_variables)


def _loss_and_accuracy(
    classifier: keras.Model,
) -> tuple[keras.losses.Loss, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
    """Return the loss, and a function from targets and logits to 1 for each correct prediction."""
    if classifier.output_shape[-1] == 1:
        return keras.losses.BinaryCrossentropy(from_logits=True), _is_same_side
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return loss, keras.metrics.categorical_accuracy


def _is_same_side(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return 1 where a logit means the same class as a target, which may be smoothed or mixed."""
    return tf.cast((targets > 0.5) == (logits > 0), tf.float32)
