/**
 * A map from half-open string intervals to values that finds all intervals around a point: an AVL tree
 * ordered by (start, end), where each node also knows the greatest end below it. An end of null is above
 * every string.
 *
 * Invariants: the heights of a node's children differ by at most one; `maxEnd` is the greatest end in the
 * node's subtree; no two nodes have the same start and end.
 */
export class IntervalTree<V> {
  #root: Node<V> | null = null;
  #size = 0;

  /** How many intervals the tree holds. */
  get size(): number {
    return this.#size;
  }

  /** The value at exactly [start, end), or undefined. */
  get(start: string, end: string | null): V | undefined {
    let node = this.#root;
    while (node !== null) {
      const order = compareBounds(start, end, node);
      if (order === 0) return node.value;
      node = order < 0 ? node.left : node.right;
    }
    return undefined;
  }

  /** Stores `value` at [start, end), over a value that is there. */
  set(start: string, end: string | null, value: V): void {
    this.#root = this.#insert(this.#root, start, end, value);
  }

  /** Removes the value at exactly [start, end); false if there was none. */
  delete(start: string, end: string | null): boolean {
    const before = this.#size;
    this.#root = this.#remove(this.#root, start, end);
    return this.#size < before;
  }

  /** Adds to `found` the value of every interval with start ≤ point < end, ordered by (start, end). */
  stab(point: string, found: V[]): void {
    stabBelow(this.#root, point, found);
  }

  /** Throws if an invariant of the tree is broken; for tests. */
  check(): void {
    checkBelow(this.#root);
  }

  #insert(node: Node<V> | null, start: string, end: string | null, value: V): Node<V> {
    if (node === null) {
      this.#size += 1;
      return { start, end, value, left: null, right: null, height: 1, maxEnd: end };
    }
    const order = compareBounds(start, end, node);
    if (order === 0) node.value = value;
    else if (order < 0) node.left = this.#insert(node.left, start, end, value);
    else node.right = this.#insert(node.right, start, end, value);
    return rebalance(node);
  }

  #remove(node: Node<V> | null, start: string, end: string | null): Node<V> | null {
    if (node === null) return null;
    const order = compareBounds(start, end, node);
    if (order < 0) node.left = this.#remove(node.left, start, end);
    else if (order > 0) node.right = this.#remove(node.right, start, end);
    else {
      this.#size -= 1;
      return joinChildren(node);
    }
    return rebalance(node);
  }
}

interface Node<V> {
  start: string;
  end: string | null;
  value: V;
  left: Node<V> | null;
  right: Node<V> | null;
  height: number;
  maxEnd: string | null;
}

function compareEnds(a: string | null, b: string | null): number {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return a < b ? -1 : 1;
}

function compareBounds<V>(start: string, end: string | null, node: Node<V>): number {
  if (start !== node.start) return start < node.start ? -1 : 1;
  return compareEnds(end, node.end);
}

function stabBelow<V>(node: Node<V> | null, point: string, found: V[]): void {
  if (node === null || (node.maxEnd !== null && node.maxEnd <= point)) return;
  stabBelow(node.left, point, found);
  if (point < node.start) return;
  if (node.end === null || point < node.end) found.push(node.value);
  stabBelow(node.right, point, found);
}

function heightOf<V>(node: Node<V> | null): number {
  return node === null ? 0 : node.height;
}

function greatestEnd<V>(node: Node<V>): string | null {
  let end = node.end;
  if (node.left !== null && compareEnds(node.left.maxEnd, end) > 0) end = node.left.maxEnd;
  if (node.right !== null && compareEnds(node.right.maxEnd, end) > 0) end = node.right.maxEnd;
  return end;
}

function refresh<V>(node: Node<V>): Node<V> {
  node.height = 1 + Math.max(heightOf(node.left), heightOf(node.right));
  node.maxEnd = greatestEnd(node);
  return node;
}

function rotateRight<V>(node: Node<V>, left: Node<V>): Node<V> {
  node.left = left.right;
  left.right = refresh(node);
  return refresh(left);
}

function rotateLeft<V>(node: Node<V>, right: Node<V>): Node<V> {
  node.right = right.left;
  right.left = refresh(node);
  return refresh(right);
}

/** Restores the invariants of a node whose children hold theirs and differ in height by at most two. */
function rebalance<V>(node: Node<V>): Node<V> {
  const { left, right } = node;
  const lean = heightOf(left) - heightOf(right);
  if (lean > 1 && left !== null) {
    if (left.right !== null && heightOf(left.left) < left.right.height)
      node.left = rotateLeft(left, left.right);
    return rotateRight(node, node.left!);
  }
  if (lean < -1 && right !== null) {
    if (right.left !== null && heightOf(right.right) < right.left.height)
      node.right = rotateRight(right, right.left);
    return rotateLeft(node, node.right!);
  }
  return refresh(node);
}

/** The subtree without its own root. */
function joinChildren<V>(node: Node<V>): Node<V> | null {
  if (node.left === null) return node.right;
  if (node.right === null) return node.left;
  let successor = node.right;
  while (successor.left !== null) successor = successor.left;
  successor.right = withoutFirst(node.right);
  successor.left = node.left;
  return rebalance(successor);
}

function withoutFirst<V>(node: Node<V>): Node<V> | null {
  if (node.left === null) return node.right;
  node.left = withoutFirst(node.left);
  return rebalance(node);
}

function checkBelow<V>(node: Node<V> | null): void {
  if (node === null) return;
  checkBelow(node.left);
  checkBelow(node.right);
  const ordered =
    (node.left === null || compareBounds(node.left.start, node.left.end, node) < 0) &&
    (node.right === null || compareBounds(node.right.start, node.right.end, node) > 0);
  const heights = [heightOf(node.left), heightOf(node.right)] as const;
  const balanced = Math.abs(heights[0] - heights[1]) <= 1 && node.height === 1 + Math.max(...heights);
  if (!ordered || !balanced || node.maxEnd !== greatestEnd(node))
    throw new Error(`interval tree broken at [${node.start}, ${node.end})`);
}
