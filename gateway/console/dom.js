// SPDX-License-Identifier: Apache-2.0
// What the page is made of. Whatever comes from the API goes in as text, never as markup.

export const $ = (selector, inside = document) => inside.querySelector(selector);

// el("td", {className: "x", onclick: f}, "text", node, [more]): null and "" are left out.
export function el(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

// A cell without a value; on a phone it is left out.
export const NOTHING = "–";

// Changes a text only if it is another one, so that screen readers hear of changes alone.
export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

export function pill(text, kind) {
  return el("span", { className: `pill ${kind}` }, text);
}

const ABBREVIATIONS = { apns: "APNs", dtls: "DTLS", ice: "ICE" };

// A name of the API for people: caller_dtls, caller DTLS.
export const words = (name) => name.split("_").map((word) => ABBREVIATIONS[word] || word).join(" ");
export const lines = (texts) => texts.map((text) => el("div", {}, text));

export function time(text) {
  if (!text) {
    return "";
  }
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  const clock = at.toLocaleTimeString([], { hour12: false });
  return el("time", { dateTime: text, title: text }, today ? clock : `${at.toLocaleDateString([], { month: "short", day: "numeric" })} ${clock}`);
}

// Milliseconds for people: 0.8 ms, 452 ms, 12.3 s, 2 min 5 s.
export function duration(ms) {
  if (ms < 10) {
    return `${ms.toFixed(1)} ms`;
  }
  if (ms < 1000) {
    return `${Math.round(ms)} ms`;
  }
  if (ms < 60000) {
    return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`;
  }
  return `${Math.floor(ms / 60000)} min ${Math.round(ms / 1000) % 60} s`;
}

export function facts(list, pairs) {
  const present = pairs.filter(([, value]) => value !== null && value !== "");
  list.replaceChildren(...present.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

// A button that does it on the second click, within 5 s.
export function twoClicks(button, question, act) {
  const label = button.textContent;
  let armed = 0;
  const disarm = () => {
    clearTimeout(armed);
    armed = 0;
    button.textContent = label;
    button.classList.remove("armed");
  };
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    if (armed) {
      disarm();
      act();
    } else {
      armed = setTimeout(disarm, 5000);
      button.textContent = question;
      button.classList.add("armed");
    }
  });
  return disarm;
}

// A table of rows with a key each. A row that has not changed is left alone, with the focus that is in it.
// columns: [{title, cell(item), number, wide}]; the cell that names the row has name: true. Roles are said, because on narrow
// screens the style sheet makes cards of the rows, and browsers then forget that it was a table.
export class Table {
  constructor(place, { label, columns, key, onClick }) {
    this.columns = columns;
    this.key = key;
    this.onClick = onClick;
    this.rows = new Map();
    this.body = el("tbody");
    this.body.setAttribute("role", "rowgroup");
    const heads = columns.map(({ title, number }) => {
      const head = el("th", { scope: "col", className: number ? "number" : "" }, title);
      head.setAttribute("role", "columnheader");
      return head;
    });
    const row = el("tr", {}, heads);
    row.setAttribute("role", "row");
    this.table = el("table", { hidden: true }, el("caption", { className: "unseen" }, label), el("thead", {}, row), this.body);
    this.table.setAttribute("role", "table");
    place.append(this.table);
    place.tabIndex = 0; // a wide table scrolls inside of its place, also by the keyboard
    place.setAttribute("role", "region");
    place.setAttribute("aria-label", label);
  }

  show(items) {
    const kept = new Map();
    for (const item of items) {
      const key = this.key(item);
      kept.set(key, this.row(this.rows.get(key), item));
    }
    for (const [key, row] of this.rows) {
      if (!kept.has(key)) {
        row.node.remove();
      }
    }
    let before = this.body.firstChild;
    for (const { node } of kept.values()) {
      if (node === before) {
        before = before.nextSibling;
      } else {
        this.body.insertBefore(node, before);
      }
    }
    this.rows = kept;
    this.table.hidden = items.length === 0;
  }

  row(old, item) {
    const said = JSON.stringify(item);
    if (old?.said === said) {
      return old;
    }
    const row = old || { node: el("tr") };
    const focused = row.node.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    row.said = said;
    row.node.setAttribute("role", "row");
    row.node.replaceChildren(...this.columns.map((column) => this.cell(column, item)));
    if (this.onClick) {
      row.node.classList.add("clickable");
      row.node.onclick = () => this.onClick(item);
    }
    if (focused) {
      $(`[data-act="${focused}"]`, row.node)?.focus();
    }
    return row;
  }

  cell({ title, cell, number, name, wide }, item) {
    const className = [number && "number", wide && "wide"].filter(Boolean).join(" ");
    const td = el(name ? "th" : "td", { className }, el("div", {}, cell(item)));
    td.setAttribute("role", name ? "rowheader" : "cell");
    td.dataset.title = title;
    td.classList.toggle("nothing", td.textContent === NOTHING);
    if (name) {
      td.scope = "row";
    }
    return td;
  }
}
