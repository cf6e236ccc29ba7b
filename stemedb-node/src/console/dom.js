// The page: finding and changing its parts. Text gets there as text only, never as HTML.

export const byId = (id) => document.getElementById(id);

/** Sets a text if it is another one, so that nothing is drawn again that stays the same. */
export function setText(node, text) {
  const wanted = text === null || text === undefined ? "–" : String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** Makes an element. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children);
  return node;
}

/**
 * Brings the children of a node in line with a list: those of items that are still there stay, with
 * focus and all.
 */
export function list(parent, items, keyOf, create, update) {
  const known = new Map(Array.from(parent.children, (child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = known.get(key);
    if (child) {
      known.delete(key);
    } else {
      child = create(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const gone of known.values()) gone.remove();
}

/** Asks the node; throws its error if it refuses. */
export async function ask(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  let answer = null;
  try {
    answer = await response.json();
  } catch {
    throw new Error("the node gave no answer that can be read");
  }
  if (!response.ok) {
    const error = new Error(answer.error || `the node answered ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return answer;
}
