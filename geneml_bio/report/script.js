"use strict";
(function () {
  function value(cell) {
    if (cell.hasAttribute("data-v")) return cell.getAttribute("data-v");
    if (cell.firstElementChild && cell.firstElementChild.matches("button.more")) return cell.firstElementChild.textContent;
    return cell.firstChild && cell.firstChild.nodeType === 3 ? cell.firstChild.nodeValue : "";
  }

  function quoted(text, numeric) {
    // a spreadsheet runs text that starts like a formula; numbers are numbers
    var safe = !numeric && /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
    return /[",\r\n]/.test(safe) ? '"' + safe.replace(/"/g, '""') + '"' : safe;
  }

  function give(text, kind, name) {
    var link = document.createElement("a");
    var address = URL.createObjectURL(new Blob([text], { type: kind + ";charset=utf-8" }));
    link.href = address;
    link.download = name;
    document.body.appendChild(link);
    link.click();
    link.remove();
    setTimeout(function () { URL.revokeObjectURL(address); }, 1000);
  }

  function ordered(table) {
    return Array.from(table.tBodies[0].rows).filter(function (row) { return !row.hidden && !row.matches(".rest"); });
  }

  function save(button) {
    var table = document.getElementById(button.dataset.table);
    var heads = Array.from(table.tHead.rows[0].cells);
    var lines = [heads.map(function (head) { return quoted(head.dataset.name, false); }).join(",")];
    ordered(table).forEach(function (row) {
      lines.push(Array.from(row.cells).map(function (cell, j) {
        return quoted(value(cell), heads[j].dataset.kind === "number");
      }).join(","));
    });
    give(lines.join("\r\n") + "\r\n", "text/csv", button.dataset.file);
  }

  function equip(table) {
    var heads = Array.from(table.tHead.rows[0].cells);
    var names = heads.map(function (head) { return head.textContent; });
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
    var order = "";

    function matches(i) {
      var words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      if (filter && filter.value && value(rows[i].cells[classAt]) !== filter.value) return false;
      return words.every(function (word) { return texts[i].includes(word); });
    }

    function fold() {
      body.querySelectorAll("tr.rest").forEach(function (row) { row.remove(); });
      body.querySelectorAll("button.more[aria-expanded=true]").forEach(function (button) { button.setAttribute("aria-expanded", "false"); });
    }

    function tell(shown) {
      var noun = count.dataset.noun + (rows.length === 1 ? "" : "s");
      count.textContent = (shown === rows.length ? rows.length + " " + noun : shown + " of " + rows.length + " " + noun) + order;
    }

    function narrow() {
      var shown = 0;
      fold();
      rows.forEach(function (row, i) {
        row.hidden = !matches(i);
        shown += row.hidden ? 0 : 1;
      });
      tell(shown);
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
      fold();
      keyed.forEach(function (item) { body.appendChild(item.row); });
      heads.forEach(function (head, j) {
        head.setAttribute("aria-sort", j === at ? (down ? "descending" : "ascending") : "none");
      });
      order = ", sorted by " + names[at] + ", " + (down ? "largest" : "smallest") + " first";
      tell(ordered(table).length);
    }

    // numbers that are large when they matter start from the top
    var bigFirst = ["shap", "selection_frequency", "used", "n_models", "n_agree", "logFC", "t", "B", "AveExpr", "F", "LR", "repeats_misclassified"];
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

    // what a row hides: opened below it, by the name of the gene
    function open(row, button) {
      if (button.getAttribute("aria-expanded") === "true") {
        button.setAttribute("aria-expanded", "false");
        row.nextElementSibling.remove();
        return;
      }
      var list = document.createElement("dl");
      Array.from(row.cells).forEach(function (cell, j) {
        if (getComputedStyle(cell).display !== "none" || cell.textContent === "" || cell.textContent === "–") return;
        var pair = list.appendChild(document.createElement("div"));
        var term = pair.appendChild(document.createElement("dt"));
        term.textContent = names[j];
        term.title = heads[j].title;
        pair.appendChild(document.createElement("dd")).textContent = cell.textContent;
      });
      var rest = document.createElement("tr");
      rest.className = "rest";
      var cell = rest.appendChild(document.createElement("td"));
      cell.colSpan = heads.length;
      cell.appendChild(list.children.length ? list : document.createTextNode("All that is known of it is in the row."));
      row.after(rest);
      button.setAttribute("aria-expanded", "true");
    }

    if (table.querySelector(".extra")) {
      table.classList.add("compact");
      rows.forEach(function (row) {
        var cell = row.querySelector("td.gene");
        var button = document.createElement("button");
        button.type = "button";
        button.className = "more";
        button.setAttribute("aria-expanded", "false");
        button.textContent = cell.firstChild ? cell.firstChild.nodeValue : "";
        if (cell.firstChild) cell.replaceChild(button, cell.firstChild); else cell.appendChild(button);
        button.addEventListener("click", function () { open(row, button); });
      });
    }

    var all = tool.querySelector('[data-role="all"]');
    if (all) all.addEventListener("change", function () { fold(); table.classList.toggle("compact", !all.checked); });
    search.addEventListener("input", narrow);
    if (filter) filter.addEventListener("change", narrow);
    narrow();
  }

  function written(box) {
    var parts = Array.from(box.querySelectorAll(".prose p")).map(function (p) { return p.textContent; });
    var cited = Array.from(box.querySelectorAll("ol.references li")).map(function (li, i) { return i + 1 + ". " + li.textContent; });
    return parts.concat(cited.length ? ["References\n" + cited.join("\n")] : []).join("\n\n") + "\n";
  }

  function copy(text, said) {
    function told() { said.textContent = "Copied."; }
    function byHand() {
      var area = document.createElement("textarea");
      area.value = text;
      document.body.appendChild(area);
      area.select();
      said.textContent = document.execCommand("copy") ? "Copied." : "The browser does not let a page copy: select the text.";
      area.remove();
    }
    if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(text).then(told, byHand);
    else byHand();
  }

  document.querySelectorAll("table.sortable").forEach(equip);
  document.querySelectorAll('[data-role="save"]').forEach(function (button) {
    button.addEventListener("click", function () { save(button); });
  });
  document.querySelectorAll(".tool[data-text]").forEach(function (tool) {
    var box = document.getElementById(tool.dataset.text);
    tool.querySelector('[data-role="copy"]').addEventListener("click", function () { copy(written(box), tool.querySelector("output")); });
    var keep = tool.querySelector('[data-role="keep"]');
    keep.addEventListener("click", function () { give(written(box), "text/plain", keep.dataset.file); });
  });
  document.querySelectorAll(".tool").forEach(function (tool) { tool.hidden = false; });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (part) { part.open = true; });
  });
})();
