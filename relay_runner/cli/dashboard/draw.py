"""How the live view looks: what it knows in, lines of the screen's size out.

Three parts: what is asked, the agents, the newest messages. What was said by others passes `output.line`: it can
neither move the cursor nor be taken for markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from relay_runner.cli import output
from relay_runner.cli.dashboard.view import Item, View
from relay_runner.protocol.agents import Agent
from relay_runner.protocol.messages import MessageRecord, State
from relay_runner.protocol.permissions import Permission

CHOSEN = "reverse"
FRAME = 4
"""The first and the last line, and the headings of agents and messages."""
DETAIL_LINES = 6
WIDEST = 28
"""Of a column that is not the last one."""
KEYS = "↑↓ choose  enter attach  v view  y approve  s for session  n deny  q leave"
READING = "↑↓ move  v back  y approve  s for the session  n deny"
Row = tuple[Item | None, Sequence[Text]]


def screen(view: View, *, width: int, height: int, now: float) -> Group:
    """Return the whole screen."""
    if (read := view.permission()) is not None and view.reading is not None:
        return _page(view, read, width, height, now)
    asked = min(len(view.permissions), max(1, height // 4))
    detail = _detail(view, width)[: max(0, (height - FRAME - asked) // 3)]
    left = height - FRAME - (1 + asked + len(detail) if asked else 0)
    agents = max(1, min(len(view.agents), left * 2 // 3))
    parts: list[Text | Table] = [_title(view, now)]
    if asked:
        rows = _all_asked(view.permissions, width, now)
        parts += [_heading(f"asked ({len(view.permissions)})"), _table(rows, view.chosen, asked, width), *detail]
    parts += [_heading(f"agents ({len(view.agents)})"), _agents(view, agents, width, now)]
    parts += [_heading("messages"), _messages(view.records, max(1, left - agents), width, now)]
    return Group(*parts, _foot(view))


def _title(view: View, now: float) -> Text:
    busy = sum(agent.status.agent_status == "busy" for agent in view.agents)
    agents, asked = len(view.agents), len(view.permissions)
    said = [f"{agents} agent{'' if agents == 1 else 's'}", f"{busy} busy"]
    if asked:
        said.append(f"{asked} wait{'s' if asked == 1 else ''} for an answer")
    line = Text("relay-runner", style="bold", no_wrap=True, overflow="ellipsis")
    line.append("   " + ", ".join(said) + "   " + output.clock(now).split(" ")[1], style="not bold")
    if view.trouble:
        line.append("   " + output.line(view.trouble), style="not bold red")
    return line


def _heading(text: str) -> Text:
    return Text(text.upper(), style="bold dim")


def _foot(view: View) -> Text:
    if view.reason is not None:
        return Text(f"why not? {view.reason}▏  (enter denies, escape goes back)", style="bold", no_wrap=True)
    keys = KEYS if view.reading is None else READING
    return Text(output.line(view.note) or keys, style="bold" if view.note else "dim", no_wrap=True, overflow="ellipsis")


def _all_asked(permissions: Sequence[Permission], width: int, now: float) -> list[Row]:
    """Return a row for each; the table would cut the end of a title, which may be the part that matters."""
    heads = [[output.line(cell)[:WIDEST] for cell in _asked(one, now)] for one in permissions]
    taken = sum(max(len(head[column]) for head in heads) + 2 for column in range(len(heads[0])))
    rows: list[Row] = []
    for one, head in zip(permissions, heads, strict=True):
        title = output.asked(one.title + (f"  [{one.note}]" if one.note else ""), max(12, width - taken - 2))
        rows.append((("permission", one.id), [Text(cell, style="yellow") for cell in (*head, title)]))
    return rows


def _asked(one: Permission, now: float) -> tuple[str, ...]:
    left = f"{output.lasted(one.expires_at - now)} left" if one.expires_at else ""
    return (one.id[:8], one.agent_id, one.kind, output.age(one.created_at, now), left)


def _page(view: View, asked: Permission, width: int, height: int, now: float) -> Group:
    """Return all of what is asked, as far as it fits, from the line on that the person moved to."""
    room = max(1, height - 3)
    lines = _wrapped(f"{asked.title}\n\n{asked.detail or ''}".rstrip(), width - 2)
    first = view.reading = max(0, min(view.reading or 0, len(lines) - room))
    below = len(lines) - first - room
    more = f"   lines {first + 1} to {min(len(lines), first + room)} of {len(lines)}" if first or below > 0 else ""
    head = Text(f"{asked.kind} of {asked.agent_id}{more}", style="bold", no_wrap=True, overflow="ellipsis")
    shown = [Text(line, style="cyan", no_wrap=True) for line in lines[first : first + room]]
    return Group(_title(view, now), head, *shown, *(Text() for _ in range(room - len(shown))), _foot(view))


def _wrapped(text: str, width: int) -> list[str]:
    """Return a text in rows; nothing is left out of it."""
    rows: list[str] = []
    for line in output.clean(output.whole(text)).expandtabs(4).splitlines():
        rows += [line[start : start + width] for start in range(0, len(line), width)] or [""]
    return rows


def _detail(view: View, width: int) -> list[Text]:
    """Return the first lines of what the chosen permission is about."""
    asked = view.permission()
    if asked is None:
        return []
    lines = [line for line in output.whole(asked.detail or "").splitlines() if line.strip()]
    if len(lines) > DETAIL_LINES:
        head, tail = DETAIL_LINES // 2, DETAIL_LINES - DETAIL_LINES // 2 - 1
        lines = [*lines[:head], f"… {len(lines) - head - tail} more lines (v shows all)", *lines[-tail:]]
    return [Text("    " + output.asked(line, max(20, width - 4)), style="cyan", no_wrap=True) for line in lines]


def _agents(view: View, height: int, width: int, now: float) -> Table | Text:
    if not view.agents:
        return Text("none: `relay-runner start` starts one", style="dim")
    return _table([_agent(agent, now) for agent in view.agents], view.chosen, height, width)


def _agent(agent: Agent, now: float) -> Row:
    status = agent.status
    state = str(status.agent_status)
    waits = output.held([(one.message_id, one.reason, one.since) for one in status.held], now)
    why = "; ".join(part for part in (status.detail or output.reasons(status.busy_reasons), waits) if part)
    queued = f"{agent.queued} queued" if agent.queued else ""
    cells = [agent.id, agent.provider or "-", state, output.age(status.since, now), queued, _context(agent), why]
    row = [Text(output.line(cell)) for cell in cells]
    row[2].stylize(output.STYLES.get(state, ""))
    return ("agent", agent.id), row


def _context(agent: Agent) -> str:
    """Return how full the model's context is."""
    context = agent.meta.get("context")
    share = context.get("utilisation") if isinstance(context, dict) else None
    return f"{share:.0%}" if isinstance(share, int | float) else ""


def _messages(records: Sequence[MessageRecord], height: int, width: int, now: float) -> Table | Text:
    if not records:
        return Text("none yet", style="dim")
    return _table([_message(record, now) for record in records[:height]], None, height, width)


def _message(record: MessageRecord, now: float) -> Row:
    message = record.message
    states = [str(one.outcome if one.state is State.DONE and one.outcome else one.state) for one in record.deliveries]
    said = ", ".join(f"{states.count(state)} {state}" if len(states) > 1 else state for state in dict.fromkeys(states))
    held = next((one.held for one in record.deliveries if one.held), None)
    to = "you" if not record.deliveries else message.to
    text = message.subject or message.body.strip().partition("\n")[0]
    cells = [str(message.id), message.sender, "→", to, output.age(message.created_at, now), held or said, text]
    row = [Text(output.line(cell)) for cell in cells]
    row[5].stylize(output.STYLES.get(states[0] if states else "", "yellow" if held else ""))
    return None, row


def _table(rows: Sequence[Row], chosen: Item | None, height: int, width: int) -> Table:
    """Return as many rows as there is room for, among them the chosen one; the last column takes what is left."""
    at = next((number for number, (item, _) in enumerate(rows) if item is not None and item == chosen), 0)
    first = max(0, min(at - height // 2, len(rows) - height))
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for column in range(len(rows[0][1])):
        last = column == len(rows[0][1]) - 1
        # What a row begins with tells it from the others: that is the last to give way in a narrow terminal.
        least = max(len(cells[0].plain) for _, cells in rows) if column == 0 else None
        table.add_column(
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if last else None,
            min_width=None if least is None else min(least, width // 3),
            max_width=None if last else WIDEST,
        )
    for item, cells in rows[first : first + height]:
        table.add_row(*cells, style=CHOSEN if item is not None and item == chosen else "")
    return table
