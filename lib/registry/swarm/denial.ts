import { SeaportError } from '../../core/errors.js'
import { toHex } from '../../core/keys.js'

/** What somebody was denied for want of. */
export interface Wanted {
  /** The key that needs the grant. */
  key: Buffer
  /** Why that key is of this run only; null if it is kept. */
  lack?: SeaportError | null
  serve?: string[]
  consume?: string[]
  call?: string[]
}

/**
 * A denial for want of a grant, with the line that would help; or with what would let a key be kept, since a grant is of no
 * use to one that is lost at the end. Other denials stay as they are.
 */
export function withAdvice(
  denial: SeaportError,
  { key, lack, serve, consume, call }: Wanted
): SeaportError {
  if (denial.code !== 'NOT_GRANTED') return denial
  if (lack) {
    return SeaportError.NOT_GRANTED(
      `${denial.text}; this run's key is lost at its end, so that no grant would help: ${lack.text}`
    )
  }
  const terms = [...flags('serve', serve), ...flags('consume', consume), ...flags('call', call)]
  const line = ['hyperseaport grant', toHex(key), ...terms].join(' ')
  return SeaportError.NOT_GRANTED(`${denial.text}; an admin of it can change that: ${line}`)
}

/** Quoted for a shell: ranges have `*`, `>` and spaces. */
function flags(name: string, patterns: string[] = []): string[] {
  return patterns.map((pattern) => `--${name} '${pattern}'`)
}
