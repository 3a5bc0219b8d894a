import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  symlink,
  writeFile
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { removeSealed } from '../../../lib/hosting/bundle/unpack.js'

/** A folder of its own for a test. */
export async function aFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'hyperseaport-bundle-'))
  t.teardown(() => removeSealed(folder))
  return folder
}

/** Makes files by their paths: a text, `{ link }`, or null for an empty folder; a `*` at the end is executable. */
export async function fill(
  root: string,
  files: Record<string, string | Buffer | { link: string } | null>
) {
  for (const [name, content] of Object.entries(files)) {
    const path = join(root, name.replace(/\*$/, ''))
    await mkdir(content === null ? path : dirname(path), { recursive: true })
    if (content === null) continue
    if (typeof content === 'object' && 'link' in content) await symlink(content.link, path)
    else {
      await writeFile(path, content)
      if (name.endsWith('*')) await chmod(path, 0o755)
    }
  }
}

/** All that is in a folder, as `fill` takes it. */
export async function read(
  root: string
): Promise<Record<string, string | { link: string } | null>> {
  const found: Record<string, string | { link: string } | null> = {}
  const names = await readdir(root, { recursive: true })
  for (const name of names.sort()) {
    const path = join(root, name)
    const stat = await lstat(path)
    if (stat.isSymbolicLink()) found[name] = { link: await readlink(path) }
    else if (stat.isDirectory()) {
      if ((await readdir(path)).length === 0) found[name] = null
    } else found[(stat.mode & 0o111) > 0 ? `${name}*` : name] = await readFile(path, 'utf8')
  }
  return found
}

const BLOCK = 512

/** One entry of an archive, as an attacker writes it. */
export function tarEntry({
  name = 'a',
  type = '0',
  mode = 0o644,
  content = '',
  size = Buffer.byteLength(content),
  link = ''
}: {
  name?: string
  type?: string
  mode?: number
  content?: string
  size?: number
  link?: string
}): Buffer {
  const header = Buffer.alloc(BLOCK)
  header.write(name, 0, 100)
  header.write(`${octal(mode, 7)}\0`, 100)
  header.write(`${octal(0, 7)}\0${octal(0, 7)}\0${octal(size, 11)}\0${octal(0, 11)}\0`, 108)
  header.write('        ', 148)
  header.write(type, 156)
  header.write(link, 157, 100)
  header.write('ustar\x0000', 257)
  const sum = header.reduce((sum, byte) => sum + byte, 0)
  header.write(`${octal(sum, 6)}\0 `, 148)
  const body = Buffer.from(content)
  return Buffer.concat([header, body, Buffer.alloc((BLOCK - (body.byteLength % BLOCK)) % BLOCK)])
}

export const END = Buffer.alloc(2 * BLOCK)

function octal(value: number, length: number): string {
  return value.toString(8).padStart(length, '0')
}
