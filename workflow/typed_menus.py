"""Print a module in which every file of a menu is held to the menu's protocol, for mypy: menus are loaded by name.

One line a file, as in `noises_gumbel: esgrad.gradients.noises.Contract = esgrad.gradients.noises.gumbel`; `make lint`
checks them.
"""

from esgrad import menu


def lines() -> list[str]:
    """The module, line by line."""
    files = {(name, word): menu.module(name, word) for name in menu.menus() for word in menu.names(name)}
    imports = [f"import {module}" for module in files.values()]
    held = [f"{name}_{word}: {module.rpartition('.')[0]}.Contract = {module}" for (name, word), module in files.items()]
    return [*imports, "", *held]


if __name__ == "__main__":
    print("\n".join(lines()))
