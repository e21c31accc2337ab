/** A binary heap: the first by `before` is taken in the time of the logarithm of its size. */
export type Heap<Item> = {
  readonly size: number;
  peek(): Item | undefined;
  push(item: Item): void;
  pop(): Item | undefined;
};

/** A heap of these items. `before` must not change for items that are in it. */
export function createHeap<Item>(before: (a: Item, b: Item) => boolean, given: readonly Item[] = []): Heap<Item> {
  const items = [...given];

  const swap = (a: number, b: number): void => {
    [items[a], items[b]] = [items[b]!, items[a]!];
  };

  const sink = (from: number): void => {
    for (let at = from; ;) {
      let first = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < items.length && before(items[child]!, items[first]!)) first = child;
      }
      if (first === at) return;
      swap(at, first);
      at = first;
    }
  };

  for (let at = (items.length >> 1) - 1; at >= 0; at--) sink(at);

  return {
    get size() {
      return items.length;
    },
    peek: () => items[0],
    push(item) {
      items.push(item);
      for (let at = items.length - 1; at > 0;) {
        const parent = (at - 1) >> 1;
        if (!before(items[at]!, items[parent]!)) return;
        swap(at, parent);
        at = parent;
      }
    },
    pop() {
      const top = items[0];
      const last = items.pop();
      if (items.length > 0) {
        items[0] = last!;
        sink(0);
      }
      return top;
    },
  };
}
