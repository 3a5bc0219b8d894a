import { randomBytes, randomInt } from 'node:crypto'
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Place, Segments } from '../../../lib/messaging/mail/segments.js'

/** What is before each letter. */
const HEAD_BYTES = 13

function folder(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'hyperseaport-kept-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function onDisk(dir: string): number {
  return readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0)
}

async function load(segments: Segments): Promise<Map<string, Place>> {
  const letters = new Map<string, Place>()
  await segments.load((letter, place) => !!letters.set(letter.toString('hex'), place))
  return letters
}

t.test('letters are there again after a restart, without removed ones and half ones', async (t) => {
  const dir = folder(t)
  const first = new Segments(dir, { maxBytes: 1e6, segmentBytes: 250 })
  await load(first)
  const letters = [100, 100, 100, 1].map((size) => randomBytes(size))
  const places = await Promise.all(letters.map((letter) => first.append(letter)))
  for (const [i, place] of places.entries()) t.same(await first.read(place), letters[i])
  await first.remove([places[0] as Place])
  await first.close()
  const last = Math.max(...readdirSync(dir).map(Number))
  appendFileSync(join(dir, String(last)), Buffer.from([1, 255, 0, 0, 0, 7]))
  const again = new Segments(dir, { maxBytes: 1e6, segmentBytes: 250 })
  const found = await load(again)
  t.same(
    [...found.keys()],
    letters.slice(1).map((letter) => letter.toString('hex'))
  )
  const next = await again.append(Buffer.from('next'))
  t.same(await again.read(next), Buffer.from('next'))
  await again.remove([...found.values(), next])
  t.equal(onDisk(dir), 0, 'files are deleted with their last letter')
  await again.close()
})

t.test('what cannot be read when it is loaded is removed', async (t) => {
  const dir = folder(t)
  const first = new Segments(dir, { maxBytes: 1e6 })
  await load(first)
  await first.append(Buffer.from('good'))
  await first.append(Buffer.from('bad'))
  await first.close()
  const again = new Segments(dir, { maxBytes: 1e6 })
  await again.load((letter) => letter.equals(Buffer.from('good')))
  const last = new Segments(dir, { maxBytes: 1e6 })
  t.equal((await load(last)).size, 1)
})

t.test('whatever byte of a file is damaged, one letter is lost and no other', async (t) => {
  const dir = folder(t)
  const file = join(dir, '1')
  const options = { maxBytes: 1e6, salt: 7 }
  const first = new Segments(dir, options)
  await load(first)
  const letters = Array.from({ length: 5 }, () => randomBytes(20))
  const places = await Promise.all(letters.map((letter) => first.append(letter)))
  await first.remove([places[4] as Place])
  await first.close()
  const whole = readFileSync(file)
  const size = HEAD_BYTES + 20
  for (let at = 0; at < 4 * size; at++) {
    const damaged = Buffer.from(whole)
    damaged[at] = (damaged[at] ?? 0) ^ 0x81
    writeFileSync(file, damaged)
    const again = new Segments(dir, options)
    const found: string[] = []
    const lost = await again.load((letter) => !!found.push(letter.toString('hex')))
    const isFlag = at % size === 0
    const left = letters.slice(0, 4).filter((_, i) => isFlag || i !== Math.floor(at / size))
    t.strictSame(
      found,
      left.map((letter) => letter.toString('hex')),
      `byte ${at}`
    )
    if (lost !== (isFlag ? 0 : size)) t.fail(`${lost} bytes are damaged`)
  }
})

t.test('a damaged stretch is given back, and what is in it is no letter', async (t) => {
  const dir = folder(t)
  const [file, other] = [join(dir, '1'), folder(t)]
  const first = new Segments(dir, { maxBytes: 1e6, salt: 1 })
  await load(first)
  // Somebody wrote a letter that has another one in it, as it would be in a file of his own.
  const foreign = new Segments(other, { maxBytes: 1e6 })
  await load(foreign)
  await foreign.append(randomBytes(50))
  await foreign.close()
  const [bad, good] = [readFileSync(join(other, '1')), randomBytes(50)]
  await first.append(bad)
  await first.append(good)
  await first.close()
  const damaged = readFileSync(file)
  damaged[1] = 0
  writeFileSync(file, damaged)
  const again = new Segments(dir, { maxBytes: 1e6, salt: 1 })
  t.same([...(await load(again)).keys()], [good.toString('hex')])
  await again.tidy()
  t.equal(onDisk(dir), HEAD_BYTES + good.byteLength)
  await again.close()
})

t.test(
  'the size on disk is bounded at all times, whatever comes and goes, and nothing else is lost',
  async (t) => {
    const dir = folder(t)
    const [maxBytes, segmentBytes] = [100_000, 5000]
    const segments = new Segments(dir, { maxBytes, segmentBytes })
    await load(segments)
    const kept = new Map<Place, Buffer>()
    let live = 0
    let most = 0
    for (let i = 0; i < 600; i++) {
      const letters = Array.from({ length: randomInt(1, 5) }, () => randomBytes(randomInt(1, 900)))
      const sum = letters.reduce((sum, { byteLength }) => sum + byteLength + HEAD_BYTES, 0)
      const removed: Place[] = []
      while (live + sum > maxBytes * 0.9) {
        const place = [...kept.keys()][randomInt(kept.size)] as Place
        kept.delete(place)
        live -= place.bytes + HEAD_BYTES
        removed.push(place)
      }
      await segments.remove(removed)
      const places = await Promise.all(letters.map((letter) => segments.append(letter)))
      for (const [k, place] of places.entries()) kept.set(place, letters[k] as Buffer)
      live += sum
      most = Math.max(most, onDisk(dir))
      if (segments.bytes !== onDisk(dir)) t.fail('the count is wrong')
    }
    t.ok(most <= maxBytes + 2 * segmentBytes, `${most} bytes at most`)
    for (const [place, letter] of kept) {
      if (!(await segments.read(place)).equals(letter)) t.fail('another letter')
    }
    await segments.remove([...kept.keys()].slice(0, Math.floor(kept.size / 2)))
    await segments.tidy()
    const half = [...kept.keys()].slice(Math.floor(kept.size / 2))
    const left = half.reduce((sum, { bytes }) => sum + bytes + HEAD_BYTES, 0)
    t.ok(onDisk(dir) <= left * 1.2 + segmentBytes, 'half of it is given back')
    await segments.close()
    const again = await load(new Segments(dir, { maxBytes, segmentBytes }))
    t.same(again.size, half.length)
  }
)
