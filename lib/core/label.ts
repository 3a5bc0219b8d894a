import { SeaportError } from './errors.js'

/** What the name of a label looks like, and its value. */
export const LABEL_NAME = '^[a-z0-9][a-z0-9._/-]{0,62}$'
export const LABEL_VALUE = '^[A-Za-z0-9._/-]{1,63}$'

/**
 * Reads a label of a host, `region=eu`.
 *
 * @throws USAGE
 */
export function parseLabel(text: string): { name: string; value: string } {
  const [name = '', value = '', ...rest] = text.split('=')
  if (rest.length > 0 || !new RegExp(LABEL_NAME).test(name) || !new RegExp(LABEL_VALUE).test(value))
    throw SeaportError.USAGE(
      `a label is a name and a value, as in region=eu, not ${JSON.stringify(text)}`
    )
  return { name, value }
}
