/** Somebody who says what happened. */
interface Source {
  on(event: string, listener: (...args: unknown[]) => void): unknown
}

/** Somebody who says it again. */
interface Target {
  emit(event: string, ...args: unknown[]): unknown
}

/** Has one object emit what another emits, with the same names and arguments. */
export function forward(from: Source, to: Target, events: readonly string[]) {
  for (const event of events) from.on(event, (...args) => to.emit(event, ...args))
}
