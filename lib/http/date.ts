let date = ''
let dateEnds = 0

/** The time for a Date field (RFC 9110 §5.6.7). It is formatted once a second only. */
export function httpDate(): string {
  const now = Date.now()
  if (now >= dateEnds) {
    date = new Date(now).toUTCString()
    dateEnds = now - (now % 1000) + 1000
  }
  return date
}
