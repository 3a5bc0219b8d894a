interface Source<T> {
  name: string
  items: AsyncGenerator<T, void, void>
}

/**
 * Yields the items of several sources as they come. A source that fails counts as ended, and the others go on. Leaving
 * the loop ends all.
 */
export async function* mergeItems<T>(
  sources: readonly Source<T>[]
): AsyncGenerator<{ name: string; item: T }, void, void> {
  const waiting = new Map(sources.map((source) => [source, nextOf(source)] as const))
  try {
    while (waiting.size > 0) {
      const { source, result } = await Promise.race(waiting.values())
      if (result === null || result.done) {
        waiting.delete(source)
        continue
      }
      waiting.set(source, nextOf(source))
      yield { name: source.name, item: result.value }
    }
  } finally {
    for (const { items } of sources) items.return().catch(() => {})
  }
}

/** Never rejects. */
async function nextOf<T>(source: Source<T>) {
  const result = await source.items.next().catch(() => null)
  return { source, result }
}
