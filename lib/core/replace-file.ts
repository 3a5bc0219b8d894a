import { readFile, rename, rm, writeFile } from 'node:fs/promises'

const PRIVATE_FILE = 0o600

/**
 * Replaces a file, which only its owner can read, so that a crash leaves either the old content or the new one. Where that
 * fails, as on a full disk, the old one stays.
 *
 * @param prepare called with the path of the new file before it is in the place of the old one
 */
export async function replaceFile(
  file: string,
  text: string,
  prepare: (draft: string) => Promise<void> = async () => {}
) {
  const draft = `${file}.new`
  try {
    // In a folder that others may write to it may be a link, and the text would go where that leads.
    await rm(draft, { force: true })
    await writeFile(draft, text, { mode: PRIVATE_FILE, flag: 'wx' })
    await prepare(draft)
    await rename(draft, file)
  } catch (cause) {
    await rm(draft, { force: true }).catch(() => {})
    throw cause
  }
}

/** Replaces a file unless it holds this text already, so that a full disk keeps nothing from going on as it was. */
export async function replaceUnlessSame(file: string, text: string) {
  const held = await readFile(file, 'utf8').catch(() => null)
  if (held !== text) await replaceFile(file, text)
}
