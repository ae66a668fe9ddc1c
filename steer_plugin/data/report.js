const charts = JSON.parse(document.getElementById("specs").textContent);
const options = {actions: false, renderer: "svg", mode: "vega-lite"};
let [place, state] = addressed();
const drawn = new Map();

/* What the address names: an element, and what selectors show. */
function addressed() {
  const [anchor, ...query] = location.hash.slice(1).split("?");
  return [decoded(anchor), new URLSearchParams(query.join("?"))];
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

/* The value that the address gives a selector or a legend; null for none, or for one it has not. */
function keptOf(name, {name: param, bind}) {
  const kept = state.get(`${name}.${param}`);
  const {is, of} = charts[name].columns.series || {};
  const options = bind === "legend" ? of || is || [] : bind.options || [];
  return options.includes(kept) ? kept : null;
}

function rowsOf(columns) {
  const names = Object.keys(columns);
  const cell = ({is, of, at}, i) => is ? is[i] : of[at[i]];
  const first = columns[names[0]] || {is: []};
  return Array.from((first.is || first.at), (_, i) =>
    Object.fromEntries(names.map(name => [name, cell(columns[name], i)])));
}

function roomOf(element) {
  return element.clientWidth || document.querySelector("main").clientWidth - 48;
}

/* The widest of the layouts that fit: panels side by side, and their width. */
function layoutOf(spec, room) {
  return spec.usermeta.layouts.find(layout => layout.room <= room) || spec.usermeta.layouts.at(-1);
}

function specOf(name, layout, live) {
  const {spec, columns} = charts[name];
  const whole = {...structuredClone(spec), config: {...CONFIG, legend: {...CONFIG.legend, columns: layout.room < 560 ? 2 : 4}}, data: {values: rowsOf(columns)}, columns: layout.columns};
  for (const panel of whole.concat) {
    panel.width = layout.width;
    if (layout.bare) panel.layer = panel.layer.filter(({mark}) => mark.type !== "text");
  }
  for (const param of whole.params || []) {
    const kept = keptOf(name, param);
    if (kept !== null) param.value = param.bind === "legend" ? [{series: kept}] : kept;
  }
  if (!live) return whole;
  return JSON.parse(JSON.stringify(whole).replace(/#[0-9a-f]{6}/g, colour => COLOURS[colour] || colour));
}

function remember() {
  const text = state.toString();
  history.replaceState(null, "", `#${encodeURIComponent(place)}${text ? `?${text}` : ""}`);
}

async function draw(name) {
  const element = document.getElementById(`${name}-chart`);
  const layout = layoutOf(charts[name].spec, roomOf(element));
  const before = drawn.get(name);
  if (before && before.layout === layout) return;
  drawn.set(name, {layout});
  try {
    if (before && before.view) before.view.finalize();
    const {view} = await vegaEmbed(element, specOf(name, layout, true), options);
    drawn.set(name, {layout, view});
    for (const param of charts[name].spec.params || []) {
      view.addSignalListener(param.name, (_, value) => {
        const kept = param.bind === "legend" ? (value.series || [])[0] : value;
        if (kept === undefined) state.delete(`${name}.${param.name}`);
        else state.set(`${name}.${param.name}`, kept);
        place = name;
        remember();
      });
    }
  } catch (error) {
    console.error(name, error);
    element.textContent = "This chart cannot be drawn here.";
  }
}

async function drawAll() {
  for (const name of Object.keys(charts)) {
    await draw(name);
    await new Promise(done => setTimeout(done));
  }
  document.body.dataset.drawn = "yes";
}

function reveal(name) {
  const target = name && document.getElementById(name);
  if (!target) return;
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  target.scrollIntoView();
}

async function save(name, type) {
  const spec = specOf(name, layoutOf(charts[name].spec, 1040), false);
  const {view} = await vegaEmbed(document.createElement("div"), {...spec, title: charts[name].title}, options);
  const link = document.createElement("a");
  link.href = await view.toImageURL(type, 2);
  link.download = `${name}.${type}`;
  link.click();
  view.finalize();
}

document.addEventListener("click", event => {
  const {save: name, type} = event.target.dataset || {};
  if (name) save(name, type);
  const link = event.target.closest && event.target.closest("a[href^='#']");
  if (link) { event.preventDefault(); place = decoded(link.hash.slice(1)); reveal(place); remember(); }
});
document.querySelectorAll("details.section").forEach(part => part.addEventListener("toggle", () => {
  if (part.open && document.body.dataset.drawn) { place = part.id; remember(); }
}));
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details.section:not([open]), details.how:not([open])")];
  closed.forEach(part => { part.open = true; });
});
addEventListener("afterprint", () => closed.forEach(part => { part.open = false; }));
let waiting;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 150); });
addEventListener("hashchange", () => {
  [place, state] = addressed();
  for (const [name, before] of drawn) if (charts[name].spec.params) before.layout = null;
  reveal(place);
  drawAll();
});
reveal(place);
drawAll();
