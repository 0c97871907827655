"""Train as readers of TensorFlow's tutorial do, with a clock.

Steps and settings are those of https://www.tensorflow.org/tutorials/images/transfer_learning. Only
the checkpoint and the splits are given, so that both sides see the same images.
"""

import argparse
import time
from pathlib import Path

import tensorflow as tf
from clock import Clock, write_result

BATCH_SIZE = 32
IMG_SIZE = (160, 160)
LEARNING_RATE = 0.0001
FINE_TUNE_AT = 100


def load(folder: Path) -> tf.data.Dataset:
    dataset = tf.keras.utils.image_dataset_from_directory(
        folder, shuffle=True, batch_size=BATCH_SIZE, image_size=IMG_SIZE
    )
    return dataset.prefetch(buffer_size=tf.data.AUTOTUNE)


def build(base: tf.keras.Model) -> tf.keras.Model:
    base.trainable = False
    augmentation = tf.keras.Sequential(
        [tf.keras.layers.RandomFlip("horizontal"), tf.keras.layers.RandomRotation(0.2)]
    )
    inputs = tf.keras.Input(shape=(*IMG_SIZE, 3))
    x = augmentation(inputs)
    x = tf.keras.applications.mobilenet_v2.preprocess_input(x)
    x = base(x, training=False)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    x = tf.keras.layers.Dropout(0.2)(x)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(1)(x))


def train(model, optimizer, train_dataset, validation_dataset, first_epoch, epochs) -> dict:
    model.compile(
        optimizer=optimizer,
        loss=tf.keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[tf.keras.metrics.BinaryAccuracy(threshold=0, name="accuracy")],
    )
    clock = Clock()
    history = model.fit(
        train_dataset,
        initial_epoch=first_epoch,
        epochs=first_epoch + epochs,
        validation_data=validation_dataset,
        verbose=2,
        callbacks=[clock],
    )
    return clock.result(history.history)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder of train/, val/ and test/")
    parser.add_argument("weights", type=Path, help="of MobileNetV2 without its top")
    parser.add_argument("result", type=Path, help="JSON file to write")
    parser.add_argument("--epochs", type=int, default=10, help="of each phase")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    tf.keras.utils.set_random_seed(arguments.seed)
    data = load(arguments.images / "train"), load(arguments.images / "val")
    base = tf.keras.applications.MobileNetV2(
        input_shape=(*IMG_SIZE, 3), include_top=False, weights=None
    )
    base.load_weights(arguments.weights)
    model = build(base)
    head = train(model, tf.keras.optimizers.Adam(LEARNING_RATE), *data, 0, arguments.epochs)

    base.trainable = True
    for layer in base.layers[:FINE_TUNE_AT]:
        layer.trainable = False
    optimizer = tf.keras.optimizers.RMSprop(LEARNING_RATE / 10)
    fine_tune = train(model, optimizer, *data, arguments.epochs, arguments.epochs)
    started = time.monotonic()
    _, test_accuracy = model.evaluate(load(arguments.images / "test"), verbose=0)
    test = {"accuracy": test_accuracy, "seconds": time.monotonic() - started}
    write_result(arguments.result, {"head": head, "fine_tune": fine_tune, "test": test})


if __name__ == "__main__":
    main()
