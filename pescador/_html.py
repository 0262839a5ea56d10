"""Streamers in a notebook: the tree of ``_repr`` as HTML that folds.

No script, no ids, so that any number of them go into one page. The colours are those of the
notebook; elsewhere, those that the browser asks for, with a background of their own.
"""

from __future__ import annotations

from html import escape
from typing import Any

from ._repr import Branch, tree

_MOST_NODES = 120

_STYLE = """
.pescador-tree { --front: #1f2328; --back: #ffffff; --faint: #59636e; --line: #d1d9e0;
  --accent: #0b57d0; --bar: #d3e3fd; --live: #116329; color-scheme: light; }
@media (prefers-color-scheme: dark) { .pescador-tree { --front: #e6edf3; --back: #161b22;
  --faint: #9198a1; --line: #3d444d; --accent: #8ab4f8; --bar: #28476e; --live: #6fdd8b;
  color-scheme: dark; } }
[data-jp-theme-light="true"] .pescador-tree { --accent: #0b57d0; --bar: #d3e3fd; --live: #116329;
  color-scheme: light; }
[data-jp-theme-light="false"] .pescador-tree { --accent: #8ab4f8; --bar: #28476e; --live: #6fdd8b;
  color-scheme: dark; }
.pescador-tree { display: inline-block; box-sizing: border-box; max-width: 100%;
  padding: .5em .9em; border: 1px solid var(--jp-border-color2, var(--line)); border-radius: 6px;
  color: var(--jp-content-font-color1, var(--front));
  background: var(--jp-layout-color1, var(--back));
  font: 13px/1.6 var(--jp-code-font-family, ui-monospace, Menlo, Consolas, monospace);
  overflow-wrap: anywhere; }
div.pescador-tree ul.pescador-below { list-style: none; margin: 0 0 0 .3em; padding: 0 0 0 .9em;
  border-left: 1px solid var(--jp-border-color2, var(--line)); }
div.pescador-tree ul.pescador-below li { margin: 0; padding: 0; }
.pescador-tree summary { cursor: pointer; padding-left: 2.2em; text-indent: -2.2em; }
.pescador-tree .pescador-leaf { padding-left: 2.2em; text-indent: -1.1em; }
.pescador-tree b { color: var(--accent); font-weight: 600; }
.pescador-tree i { color: var(--jp-content-font-color2, var(--faint)); font-style: normal; }
.pescador-tree em { color: var(--live); font-style: normal; }
.pescador-tree .pescador-weight { display: inline-block; min-width: 5.5em; padding: 0 .3em;
  border-radius: 3px; text-indent: 0; }
"""


def html_of(streamer: Any) -> str:
    """Return the streamer, and what is below it, as HTML: the ``_repr_html_`` of streamers."""
    branch = tree(streamer, _MOST_NODES)
    return f'<div class="pescador-tree"><style>{_STYLE}</style>{_branch(branch, True)}</div>'


def _branch(branch: Branch, is_open: bool) -> str:
    line = _line(branch)
    if not branch.below:
        return f'<div class="pescador-leaf">{line}</div>'
    is_open_below = is_open and len(branch.below) == 1  # no choice, so no need to unfold it
    rows = [_branch(each, is_open_below) for each in branch.below]
    if branch.n_more:
        rows.append(f'<div class="pescador-leaf"><i>... and {branch.n_more:,} more</i></div>')
    items = "".join(f"<li>{row}</li>" for row in rows)
    state = " open" if is_open else ""
    below = f'<ul class="pescador-below">{items}</ul>'
    return f"<details{state}><summary>{line}</summary>{below}</details>"


def _line(branch: Branch) -> str:
    node = branch.node
    parts = [] if branch.weight is None else [_weight(branch.weight)]
    parts.append(f"<b>{escape(node.name)}</b>")
    if node.given is not None:
        parts.append(f"<span>({escape(', '.join(node.given))})</span>")
    if node.notes:
        parts.append(f"<em>&ensp;{escape('; '.join(node.notes))}</em>")
    return "".join(parts)


def _weight(weight: float) -> str:
    share = f"{100 * weight:.3g}%"
    fill = f"linear-gradient(90deg, var(--bar) {share}, transparent {share})"
    return f'<span class="pescador-weight" style="background: {fill}">{weight:.3g}</span> '
