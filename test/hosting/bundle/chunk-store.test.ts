import { readdir, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import {
  decodeChunkList,
  encodeChunkList,
  hashOf,
  MAX_CHUNK_BYTES,
  MAX_CHUNKS
} from '../../../lib/hosting/bundle/chunk.js'
import { ChunkStore } from '../../../lib/hosting/bundle/chunk-store.js'
import { aFolder } from './folders.js'

const CHUNK = Buffer.from('some bytes')
const HASH = hashOf(CHUNK)

t.test('a chunk that was written is there, for another process too', async (t) => {
  const folder = await aFolder(t)
  const store = new ChunkStore(folder, { minFree: 0 })
  t.equal(await store.read(HASH), null)
  t.equal(await store.write(CHUNK), HASH)
  t.equal(await store.write(CHUNK), HASH)
  t.same(store.stats, { written: 1, writtenBytes: CHUNK.byteLength, broken: 0, deleted: 0 })
  const other = new ChunkStore(folder, { minFree: 0 })
  t.ok(await other.has(HASH))
  t.same(await other.read(HASH), CHUNK)
  await t.rejects(store.has('../../../etc/passwd'), { code: 'BAD_BUNDLE' })
})

t.test(
  'a chunk that the disk has changed is not given out, and makes room for a good one',
  async (t) => {
    const folder = await aFolder(t)
    const store = new ChunkStore(folder, { minFree: 0 })
    const path = join(folder, HASH.slice(0, 2), HASH.slice(2))
    for (const spoil of [
      () => writeFile(path, 'some bytez'),
      () => truncate(path, 3),
      () => truncate(path, 2 ** 33)
    ]) {
      await store.write(CHUNK)
      await spoil()
      t.equal(await store.read(HASH), null)
      t.notOk(await store.has(HASH))
    }
    t.equal(store.stats.broken, 3)
  }
)

t.test(
  'what a process that was killed has left is not taken for ours, be its pid the same',
  async (t) => {
    const folder = await aFolder(t)
    const left = join(folder, `${process.pid}-0.part`)
    await writeFile(left, 'half of a chunk')
    const store = new ChunkStore(folder, { minFree: 0 })
    t.equal(await store.write(CHUNK), HASH)
    await store.retain([])
    t.same(await readdir(folder), [HASH.slice(0, 2)])
  }
)

t.test('what no kept bundle needs is deleted, but for what is held', async (t) => {
  const folder = await aFolder(t)
  const store = new ChunkStore(folder, { minFree: 0 })
  const bundle = async (...texts: string[]) => {
    const chunks = texts.map((text) => Buffer.from(text))
    for (const chunk of chunks) await store.write(chunk)
    const entries = chunks.map((chunk) => ({ hash: hashOf(chunk), size: chunk.byteLength }))
    return store.write(encodeChunkList(entries))
  }
  const isThere = (text: string) => store.has(hashOf(Buffer.from(text)))
  const one = await bundle('a', 'b')
  const two = await bundle('b', 'c')
  const hold = store.hold()
  await bundle('d')
  await writeFile(join(folder, '1-0.part'), 'left by a process that was killed')
  await store.retain([two, hashOf(Buffer.from('nowhere'))])
  t.notOk(await isThere('a'))
  t.notOk(await store.has(one))
  t.ok(await isThere('b'))
  t.ok(await isThere('c'))
  t.ok(await isThere('d'), 'held')
  t.notOk((await readdir(folder)).includes('1-0.part'))
  hold.release()
  await store.retain([two])
  t.notOk(await isThere('d'))
})

t.test(
  'what was in no bundle for long is deleted, whichever process has written it, but for what is held',
  async (t) => {
    const folder = await aFolder(t)
    const store = new ChunkStore(folder, { minFree: 0 })
    const write = (text: string) => store.write(Buffer.from(text))
    const old = await write('old')
    const used = await write('used')
    const held = await write('held')
    const young = await write('young')
    const left = join(folder, '1-0.part')
    await writeFile(left, 'left by a process that was killed')
    const now = Date.now()
    const long = new Date(now - 8000)
    for (const hash of [old, used, held]) {
      await utimes(join(folder, hash.slice(0, 2), hash.slice(2)), long, long)
    }
    await utimes(left, long, long)
    const hold = store.hold()
    hold.add(held)
    const other = new ChunkStore(folder, { minFree: 0 })
    await other.expire([used], 10_000, now)
    t.ok(await store.has(old), 'nothing is that old yet')
    await store.expire([], 5000, now)
    t.notOk(await store.has(old))
    t.ok(await store.has(used), 'the other process needed it')
    t.ok(await store.has(held))
    t.ok(await store.has(young))
    t.notOk((await readdir(folder)).includes('1-0.part'))
    hold.release()
    await store.expire([used], 5000, now)
    t.notOk(await store.has(held))
  }
)

t.test('nothing is taken that would leave less of the disk than is to stay free', async (t) => {
  const folder = await aFolder(t)
  const store = new ChunkStore(folder, { minFree: 0.999999 })
  await t.rejects(store.write(CHUNK), { code: 'DISK_FULL', message: /100 %/ })
  t.notOk(await store.has(HASH))
  t.throws(() => new ChunkStore(folder, { minFree: 1 }), { code: 'USAGE' })
  await t.rejects(new ChunkStore(folder, { minFree: 0 }).checkRoom(2 ** 50), { code: 'DISK_FULL' })
})

t.test(
  'a list of chunks is read as it was written, and one that breaks the rules is refused',
  async (t) => {
    const entries = [
      { hash: HASH, size: 10 },
      { hash: hashOf(Buffer.from('b')), size: MAX_CHUNK_BYTES }
    ]
    t.same(decodeChunkList(encodeChunkList(entries)), entries)
    t.same(decodeChunkList(encodeChunkList([])), [])
    const many = Array(MAX_CHUNKS).fill({ hash: HASH, size: 1 })
    t.equal(decodeChunkList(encodeChunkList(many)).length, MAX_CHUNKS)
    t.ok(encodeChunkList(many).byteLength <= MAX_CHUNK_BYTES, 'a list is a chunk itself')
    t.throws(() => encodeChunkList([...many, entries[0]]), { code: 'BAD_BUNDLE' })
    const huge = Array(10_000).fill({ hash: HASH, size: MAX_CHUNK_BYTES })
    const wrong = [
      Buffer.alloc(0),
      Buffer.from([2]),
      Buffer.from([1, 2]),
      encodeChunkList([{ hash: HASH, size: 0 }]),
      encodeChunkList([{ hash: HASH, size: MAX_CHUNK_BYTES + 1 }]),
      encodeChunkList(huge)
    ]
    for (const list of wrong) t.throws(() => decodeChunkList(list), { code: 'BAD_BUNDLE' })
  }
)
