/** The beginning of a text that takes so many bytes of UTF-8 at most, without half a character at its end. */
export function fitted(text: string, maxBytes: number): string {
  // No character takes more than three bytes for each unit that it has in a string.
  if (text.length * 3 <= maxBytes) return text
  const bytes = Buffer.from(text)
  if (bytes.byteLength <= maxBytes) return text
  let end = maxBytes
  while (isContinuation(bytes[end])) end--
  return bytes.toString('utf8', 0, end)
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && byte >> 6 === 0b10
}
