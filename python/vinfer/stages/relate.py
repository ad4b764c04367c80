"""Relations: pairs of objects in, scored triplets out, as the bundle's manifest says."""

from __future__ import annotations

import numpy as np

from vinfer.backends import Session, SessionInfo, SessionOptions, load
from vinfer.bundles import Bundle, RelationManifest
from vinfer.closing import Closing
from vinfer.errors import BundleSchemaError, ConfigError, InvalidBoxError, ModelOutputError
from vinfer.stages.relation_inputs import relation_inputs
from vinfer.types import Detections, Float32Array, Int64Array, Relations, UInt8Array

_UNKNOWN = -1


class Relator(Closing):
    """Runs one relation bundle.

    Keeps no state between frames but the mapping of the detector's classes, made again when they
    change; `relate` may be called from several threads at once.

    Args:
        bundle: its manifest's task must be ``relations``.
        options: where and how to run the graph.
        min_score: relations below it are not reported, in [0, 1].
        session: of another form of the graph, such as one with fewer bits, to run in place of the
            bundle's own; `close` closes it.

    Raises:
        BundleSchemaError: the bundle is of another task, or its graph has other inputs or outputs
            than the manifest says.
        ConfigError: ``min_score`` is out of range.
        BackendError: the graph can't be loaded.

    Example:
        >>> relator = Relator(Bundle.open(find_bundle("relation-prior")), SessionOptions())
        >>> relator.relate(detector.detect(image), image).to_dict()
    """

    def __init__(
        self,
        bundle: Bundle,
        options: SessionOptions,
        *,
        min_score: float = 0.05,
        session: Session | None = None,
    ) -> None:
        manifest = bundle.manifest
        if not isinstance(manifest, RelationManifest):
            raise BundleSchemaError(
                f'{bundle.identity}: found task "{manifest.task}", expected "relations"; '
                "give a relation bundle"
            )
        if not 0 <= min_score <= 1:
            raise ConfigError(f"min_score: found {min_score}, expected a number in [0, 1]")
        self._identity = bundle.identity
        self._manifest = manifest
        self._min_score = np.float32(min_score)
        own = {name: k for k, name in enumerate(manifest.labels)}
        # The model's own name wins over an alias of the same spelling.
        self._labels = {name: own[to] for name, to in manifest.aliases.items()} | own
        # Replaced as a whole: no thread may see the names of one and the table of another.
        self._mapping: tuple[tuple[str, ...], Int64Array] = ((), np.zeros(0, np.int64))
        self._inputs = relation_inputs(manifest)
        self._session = session or load(
            bundle.graph(),
            options,
            sample=self._inputs.sample(len(manifest.labels)),
            allowed_precisions=manifest.allowed_precisions,
        )
        try:
            self._check_graph()
        except BundleSchemaError:
            self._session.close()
            raise

    @property
    def manifest(self) -> RelationManifest:
        """The bundle's manifest."""
        return self._manifest

    @property
    def predicates(self) -> tuple[str, ...]:
        """The predicates; `Relations.predicates` are indices into them."""
        return self._manifest.predicates

    @property
    def needs_image(self) -> bool:
        """Whether the model looks at the picture, so that `relate` must be given it."""
        return self._inputs.needs_image

    def describe(self) -> SessionInfo:
        """What really runs the graph."""
        return self._session.describe()

    def relate(
        self,
        detections: Detections,
        image: UInt8Array | None = None,
        *,
        min_score: float | None = None,
    ) -> Relations:
        """Relations between the objects of one frame.

        Args:
            detections: of one frame, tracked or not. An object whose class the model does not know,
                under its own name or an alias, is in no pair.
            image: the frame, uint8 ``[H, W, 3]`` RGB, where `needs_image`; else not looked at.
                Boxes are clipped to it, as in training.
            min_score: in place of the relator's own; 0 for every pair and predicate.

        Returns:
            Triplets of different objects with a score of at least ``min_score``, compared in
            float32; by score descending, then subject, object and predicate ascending. None of
            fewer than two known objects: the graph does not run.

        Raises:
            InputError: the image is missing, or no picture.
            InvalidBoxError: a box is not finite or has x2 < x1 or y2 < y1.
            ModelOutputError: the graph gave scores that are not finite, are outside [0, 1] or have
                another shape than promised.
        """
        self._inputs.check(image)
        subjects, objects, labels = self._pairs(detections)
        if not len(subjects):
            return Relations.empty(self.predicates)
        boxes = detections.boxes
        _check_boxes(boxes)
        outputs = self._session.run(self._inputs.arrays(boxes, labels, subjects, objects, image))
        scores = self._checked(outputs[self._manifest.scores], len(subjects))
        least = self._min_score if min_score is None else np.float32(min_score)
        pair, predicate = np.nonzero(scores >= least)
        found = scores[pair, predicate]
        # Pairs are made in order of subject and object: a stable sort leaves ties in that order.
        order = np.argsort(-found, kind="stable")
        pair = pair[order]
        return Relations(
            np.stack([subjects[pair], objects[pair]], 1).astype(np.int32),
            predicate[order].astype(np.int32),
            found[order],
            self.predicates,
        )

    def close(self) -> None:
        """Free the session; may be called twice."""
        self._session.close()

    def _pairs(self, detections: Detections) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Subjects and objects as indices into the detections, and every object's own label."""
        labels = self._table(detections.names)[detections.labels]
        known = np.flatnonzero(labels != _UNKNOWN)
        subjects = np.repeat(known, len(known))
        objects = np.tile(known, len(known))
        different = subjects != objects
        return subjects[different], objects[different], labels

    def _table(self, names: tuple[str, ...]) -> Int64Array:
        known, table = self._mapping
        if names is not known and names != known:
            table = np.array([self._labels.get(name, _UNKNOWN) for name in names], np.int64)
            self._mapping = (names, table)
        return table

    def _checked(self, scores: Float32Array, num_pairs: int) -> Float32Array:
        expected = (num_pairs, len(self.predicates))
        name = f"{self._identity}, output {self._manifest.scores!r}"
        if scores.shape != expected or scores.dtype != np.float32:
            raise ModelOutputError(
                f"{name}: found {scores.dtype} {list(scores.shape)}, expected float32 "
                f"{list(expected)}; pack the bundle again"
            )
        # One pass for the good case: NaN fails both comparisons.
        if not ((scores >= 0) & (scores <= 1)).all():
            finite = np.isfinite(scores)
            raise ModelOutputError(
                f"{name}: found {int((~finite).sum())} values that are not finite and "
                f"{int((finite & ((scores < 0) | (scores > 1))).sum())} outside [0, 1] of "
                f"{scores.size}, expected probabilities; the graph or its weights are damaged"
            )
        return scores

    def _check_graph(self) -> None:
        roles = self._manifest.input_roles
        for kind, promised, present in (
            ("inputs", set(roles.values()), {spec.name for spec in self._session.inputs}),
            ("output", {self._manifest.scores}, {spec.name for spec in self._session.outputs}),
        ):
            complete = promised == present if kind == "inputs" else promised <= present
            if not complete:
                raise BundleSchemaError(
                    f"{self._identity}: the graph has {kind} {sorted(present)}, the manifest says "
                    f"{sorted(promised)}; pack the bundle again"
                )


def _check_boxes(boxes: Float32Array) -> None:
    good = np.isfinite(boxes).all(1) & (boxes[:, 2:] >= boxes[:, :2]).all(1)
    if not good.all():
        wrong = np.flatnonzero(~good)
        raise InvalidBoxError(
            f"boxes: found {boxes[wrong[0]].tolist()} at index {wrong[0]} ({len(wrong)} such), "
            "expected finite xyxy with x1 <= x2 and y1 <= y2"
        )
