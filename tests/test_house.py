"""How large things may be, how files are named, and what of Keras may be touched."""

import ast
import collections
import pathlib
import re

import keras

import nested_keras

PACKAGE = pathlib.Path(nested_keras.__file__).parent
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, METHODS_OF_A_CLASS = 450, 60, 15
# What may be larger, with the reason. An entry goes when its reason does.
LARGE = {
    # A reader of one operator: a method per kind of field.
    "tflite/operator_reader.py:Node",
    "tflite/operator_reader.py:OperatorReader",
}

# The names of Keras that begin with an underscore or lie in keras.src: at most four, in one file,
# which gives the reasons.
GRAPH_FILE = "nesting/keras_graph.py"
PRIVATE = {"_run_through_graph", "_keras_history", "_inbound_nodes", "_maybe_symbolic_build"}
# What Keras's models, layers, metrics and callbacks have of such names, and a module may want.
TEMPTING = {
    *("keras.src", "_compile_loss", "_compile_metrics", "_loss_tracker", "_direction"),
    *("_flatten_metrics_in_order", "_symbolic_build", "_distribute_strategy", "_metrics"),
}

# Private functions may have so many bare `Any` in all; `nested_keras.typing` names what passes.
BARE_ANY = 12


def parsed(path):
    return ast.parse(path.read_text())


def named(tree, scope=""):
    """Yields the functions and classes of a module, by their dotted names."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = f"{scope}{node.name}"
            yield name, node
            yield from named(node, f"{name}.")


def is_large(node):
    if isinstance(node, ast.FunctionDef):
        return node.end_lineno - node.lineno >= LINES_OF_A_FUNCTION
    return sum(isinstance(each, ast.FunctionDef) for each in node.body) > METHODS_OF_A_CLASS


def test_files_functions_and_classes_are_small():
    long = [name for name, path in FILES.items() if path.read_text().count("\n") > LINES_OF_A_FILE]
    large = {
        f"{file}:{name}"
        for file, path in FILES.items()
        for name, node in named(parsed(path))
        if is_large(node)
    }
    assert long == []
    assert large - LARGE == set()


def test_a_file_name_occurs_once():
    counts = collections.Counter(path.name for path in FILES.values())
    assert {name for name, count in counts.items() if count > 1} <= {"__init__.py", "__main__.py"}


def test_private_names_of_keras_stand_in_one_file():
    assert len(PRIVATE) <= 4
    for file, path in FILES.items():
        text = path.read_text()
        found = {
            name for name in PRIVATE | TEMPTING if re.search(rf"[.\s]{re.escape(name)}\b", text)
        }
        assert found == (PRIVATE if file == GRAPH_FILE else set()), file


def test_methods_of_keras_that_are_private_are_not_overridden():
    """A method of ours whose name a class of Keras has as well takes its place."""
    inherited = {
        name
        for kind in (keras.Model, keras.layers.Layer, keras.metrics.Metric, keras.losses.Loss)
        for name in dir(kind)
        if re.match(r"_[a-z]", name)
    }
    for file, path in FILES.items():
        own = {name.split(".")[-1] for name, _ in named(parsed(path)) if "." in name}
        assert own & inherited <= (PRIVATE if file == GRAPH_FILE else set()), file


def test_private_names_of_other_objects_stay_in_their_module():
    """`x._name` is for names that the module itself defines, or that are listed above."""
    for file, path in FILES.items():
        if file.split("/")[0] not in ("nesting", "callbacks", "allocation", "export"):
            continue
        tree = parsed(path)
        own = set(re.findall(r"(?:def |class |self\.)(_\w+)", path.read_text()))
        own |= set(re.findall(r"^    (_\w+): ", path.read_text(), flags=re.MULTILINE))
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr)
        }
        assert used <= own | (PRIVATE if file == GRAPH_FILE else set()), file


def untyped(tree):
    """Yields the function of each parameter that is annotated `Any`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            a = node.args
            parameters = [*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg]
            annotations = [each.annotation for each in parameters if each is not None]
            for each in annotations:
                if each is not None and ast.unparse(each) == "Any":
                    yield node.name


def test_parameters_say_what_they_take():
    found = [(file, name) for file, path in FILES.items() for name in untyped(parsed(path))]
    assert [each for each in found if not each[1].startswith("_")] == []
    assert len(found) <= BARE_ANY
