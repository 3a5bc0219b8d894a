import { rename, writeFile } from 'node:fs/promises'

const PRIVATE_FILE = 0o600

/** Replaces a file, which only its owner can read, so that a crash leaves either the old content or the new one. */
export async function replaceFile(file: string, text: string) {
  const draft = `${file}.new`
  await writeFile(draft, text, { mode: PRIVATE_FILE })
  await rename(draft, file)
}
