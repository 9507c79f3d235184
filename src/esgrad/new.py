"""`esgrad new shaping my_idea`: a package of one's own with one commented file for a menu, which runs.

Its folder is called esgrad-my-idea. A folder called as the module would hide the module from programs beside it.
"""

import importlib.util
import keyword
import re
from pathlib import Path

from esgrad import menu

TEMPLATES = Path(__file__).parent / "templates"
MENUS = {"shaping": "shapings", "noise": "noises", "credit": "credits", "blackbox": "blackboxes"}
"""The kinds of file that a package may add, and their menus."""
OF_A_METHOD = '{kind}="{name}" of esgrad.blackbox and esgrad.es_gradient, {kind}: {name} of a method in a configuration'
OF_AN_EXPERIMENT = "blackbox: {name} of an experiment in a configuration, --blackbox {name} of esgrad train"


def write(kind: str, name: str, into: Path) -> list[Path]:
    """Write a package into a new folder of `into`; the paths of its files.

    Raises ValueError for an unknown kind, a name that is no module's or is taken, and a folder that is there.
    """
    if kind not in MENUS:
        raise menu.unknown("kind", kind, MENUS)
    if keyword.iskeyword(name):
        raise ValueError(f"'{name}' is a word of Python: take another name, such as my_idea")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name.endswith("_"):
        raise ValueError(f"'{name}' is no name for a file of Python: small letters, digits and _, such as my_idea")
    if name in menu.names(MENUS[kind]):
        raise ValueError(f"'{name}' is on the menu {MENUS[kind]}: take another name")
    if importlib.util.find_spec(name):
        raise ValueError(f"'{name}' is the name of a package that is installed: take another name")
    folder = into / f"esgrad-{name.replace('_', '-')}"
    if folder.exists():
        raise ValueError(f"{folder} is there: take another name, or another folder with --into")
    folder.mkdir(parents=True)
    files = {f"{name}.py": kind, "pyproject.toml": "pyproject", f"test_{name}.py": "test"}
    for file, template in files.items():
        text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
        for word, meant in {"NAME": name, "KIND": kind, "MENU": MENUS[kind]}.items():
            text = re.sub(rf"(?<![A-Z]){word}(?![A-Z])", meant, text)
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
    return [folder / file for file in files]


def use(kind: str, name: str) -> str:
    """Where it is named, for people."""
    return (OF_AN_EXPERIMENT if kind == "blackbox" else OF_A_METHOD).format(kind=kind, name=name)
