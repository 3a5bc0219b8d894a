/** What a page presents when it comes back. */
export interface Resume {
  ticket: string
  secret: string
  at: Record<string, [epoch: number, seq: number]>
}

const MAX_PLACES = 1024

/** Reads how far a page had heard. If that cannot be read, the page counts as a new one. */
export function readResume(value: unknown): Resume | null {
  const { ticket, secret, at } = (value ?? {}) as Record<string, unknown>
  if (typeof ticket !== 'string' || typeof secret !== 'string') return null
  const places = Object.entries(at ?? {})
    .slice(0, MAX_PLACES)
    .filter(([, place]) => Array.isArray(place) && isCount(place[0]) && isCount(place[1]))
  return { ticket, secret, at: Object.fromEntries(places) }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
