/**
 * Control characters drive terminals, format characters turn the reading direction or hide text, and half a
 * surrogate pair is no character at all.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u
const EACH_UNPRINTABLE = new RegExp(UNPRINTABLE, 'gu')
const EACH_UNPRINTABLE_BUT_NEWLINES = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu
const REPLACEMENT = '\ufffd'

/** Whether a text may be shown as it is: in a terminal, a log line or a page. */
export function isPrintable(text: string): boolean {
  return !UNPRINTABLE.test(text)
}

/** One line that may be shown: what others wrote, without what would drive a terminal or forge a line. */
export function printable(text: string): string {
  return text.replace(EACH_UNPRINTABLE, REPLACEMENT)
}

/** The same for a text of several lines, which keeps its line ends. */
export function printableLines(text: string): string {
  return text.replace(EACH_UNPRINTABLE_BUT_NEWLINES, REPLACEMENT)
}

/** JSON for a terminal: equal to what `JSON.stringify` makes, with what is unprintable escaped. */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(EACH_UNPRINTABLE_BUT_NEWLINES, escaped)
}

function escaped(character: string): string {
  return Array.from({ length: character.length }, (_, i) => character.charCodeAt(i))
    .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
    .join('')
}
