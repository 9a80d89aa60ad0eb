"use strict";
(function () {
  function value(cell) {
    if (cell.hasAttribute("data-v")) return cell.getAttribute("data-v");
    return cell.firstChild ? cell.firstChild.nodeValue || "" : "";
  }

  function quoted(text, numeric) {
    // a spreadsheet runs text that starts like a formula; numbers are numbers
    var safe = !numeric && /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
    return /[",\r\n]/.test(safe) ? '"' + safe.replace(/"/g, '""') + '"' : safe;
  }

  function equip(table) {
    var heads = Array.from(table.tHead.rows[0].cells);
    var body = table.tBodies[0];
    var rows = Array.from(body.rows);
    var tool = document.querySelector('.tool[data-for="' + table.id + '"]');
    var search = tool.querySelector('[data-role="search"]');
    var filter = tool.querySelector('[data-role="filter"]');
    var count = tool.querySelector('[data-role="count"]');
    var within = search.dataset.within;
    var texts = rows.map(function (row) {
      var cells = within ? Array.from(row.querySelectorAll(within)) : [row];
      return cells.map(function (cell) { return cell.textContent.toLowerCase(); }).join(" ");
    });
    var classAt = heads.findIndex(function (head) { return head.dataset.name === "class"; });

    function matches(i) {
      var words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (filter && filter.value && value(rows[i].cells[classAt]) !== filter.value) return false;
      return words.every(function (word) { return texts[i].includes(word); });
    }

    function narrow() {
      var shown = 0;
      rows.forEach(function (row, i) {
        row.hidden = !matches(i);
        shown += row.hidden ? 0 : 1;
      });
      var noun = count.dataset.noun + (rows.length === 1 ? "" : "s");
      count.textContent = shown === rows.length ? rows.length + " " + noun : shown + " of " + rows.length + " " + noun;
    }

    function sort(at, down) {
      var numeric = heads[at].dataset.kind === "number";
      var keyed = rows.map(function (row, i) {
        var text = value(row.cells[at]);
        return { row: row, i: i, empty: text === "", key: numeric ? Number(text) : text.toLowerCase() };
      });
      keyed.sort(function (a, b) {
        if (a.empty || b.empty) return a.empty - b.empty || a.i - b.i; // what is missing stays last
        var order = numeric ? a.key - b.key : a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
        return (down ? -order : order) || a.i - b.i;
      });
      keyed.forEach(function (item) { body.appendChild(item.row); });
      heads.forEach(function (head, j) {
        head.setAttribute("aria-sort", j === at ? (down ? "descending" : "ascending") : "none");
      });
    }

    // numbers that are large when they matter start from the top
    var bigFirst = ["shap", "selection_frequency", "n_models", "logFC", "AveExpr", "F", "repeats_misclassified"];
    heads.forEach(function (head, at) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.textContent = "";
      head.appendChild(button);
      button.addEventListener("click", function () {
        var now = head.getAttribute("aria-sort");
        sort(at, now === "none" ? bigFirst.includes(head.dataset.name) : now === "ascending");
      });
    });

    function save() {
      var lines = [heads.map(function (head) { return quoted(head.dataset.name, false); }).join(",")];
      Array.from(body.rows).forEach(function (row) {
        if (row.hidden) return;
        lines.push(Array.from(row.cells).map(function (cell, j) {
          return quoted(value(cell), heads[j].dataset.kind === "number");
        }).join(","));
      });
      var link = document.createElement("a");
      var address = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv;charset=utf-8" }));
      link.href = address;
      link.download = tool.querySelector('[data-role="save"]').dataset.file;
      document.body.appendChild(link);
      link.click();
      link.remove();
      setTimeout(function () { URL.revokeObjectURL(address); }, 1000);
    }

    var all = tool.querySelector('[data-role="all"]');
    if (all) all.addEventListener("change", function () { table.classList.toggle("everything", all.checked); });
    search.addEventListener("input", narrow);
    if (filter) filter.addEventListener("change", narrow);
    tool.querySelector('[data-role="save"]').addEventListener("click", save);
    tool.hidden = false;
    narrow();
  }

  document.querySelectorAll("table.sortable").forEach(equip);
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (part) { part.open = true; });
  });
})();
