interface Source<T> {
  name: string
  items: AsyncGenerator<T, void, void>
}

/**
 * Yields the items of several sources as they come. A source that fails counts as ended, and the others go on. Leaving
 * the loop ends all.
 *
 * @throws the error of the last source, if all have failed and nothing came
 */
export async function* mergeItems<T>(
  sources: readonly Source<T>[]
): AsyncGenerator<{ name: string; item: T }, void, void> {
  const waiting = new Map(sources.map((source) => [source, nextOf(source)] as const))
  let isAnswered = sources.length === 0
  let reason: unknown = null
  try {
    while (waiting.size > 0) {
      const { source, result, error } = await Promise.race(waiting.values())
      if (result) isAnswered = true
      else reason = error
      if (!result || result.done) {
        waiting.delete(source)
        continue
      }
      waiting.set(source, nextOf(source))
      yield { name: source.name, item: result.value }
    }
    if (!isAnswered) throw reason
  } finally {
    for (const { items } of sources) items.return().catch(() => {})
  }
}

/** Never rejects. */
async function nextOf<T>(source: Source<T>) {
  return source.items.next().then(
    (result) => ({ source, result, error: null }),
    (error: unknown) => ({ source, result: null, error })
  )
}
