import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAppFile, parseOldAppFile } from '../../lib/hosting/app-file.js'
import { decodeChunkList, encodeChunkList, hashOf } from '../../lib/hosting/bundle/chunk.js'
import { platformsOfHead } from '../../lib/hosting/bundle/native.js'
import { unpack } from '../../lib/hosting/bundle/unpack.js'
import {
  type ChunkFrame,
  decodeChunkFrame,
  encodeChunkFrame,
  MAX_FRAME_BYTES
} from '../../lib/hosting/chunks/chunk-frames.js'
import { ChunkPeer } from '../../lib/hosting/chunks/chunk-peer.js'
import { decodeRelease, encodeRelease, releaseOf } from '../../lib/hosting/release.js'
import { FrameReader } from '../../lib/messaging/frame-reader.js'
import { END, tarEntry } from '../hosting/bundle/folders.js'
import { idleStream } from '../link/pair.js'
import type { Target } from './mutants.js'

const hash = hashOf(Buffer.from('a chunk'))
const FRAMES: ChunkFrame[] = [
  { type: 1, id: 1, list: hash, hash },
  { type: 2, id: 1, bytes: Buffer.from('a chunk') },
  { type: 3, id: 2, code: 'NOT_FOUND', text: 'it is not here' },
  { type: 4 },
  { type: 5, id: 3 }
]
const APP = {
  name: '@team/api',
  command: ['node', 'api.js'],
  port: 8080,
  env: { A: 'b' },
  hostnames: ['api.test'],
  place: { labels: { region: 'eu' }, memory: '1GB' },
  update: { steady: '1s' },
  uses: ['db@3.x']
}
const BUNDLE = { list: hash, platforms: ['linux-x64'] }
const ARCHIVE = [
  tarEntry({ name: 'bin/run', mode: 0o755, content: 'run' }),
  tarEntry({ name: 'bin/again', type: '2', link: 'run' }),
  tarEntry({ name: 'empty/', type: '5' }),
  END
]

export const hostingTargets: Record<string, Target> = {
  'an app file': {
    valid: [Buffer.from(JSON.stringify(APP))],
    read: ([text]) => parseAppFile(String(text))
  },
  'an App.config': {
    valid: [Buffer.from('APP_NAME shop\nAPP_HOSTNAME shop.test\n')],
    read: ([text]) => parseOldAppFile(String(text), { files: ['server.js'] })
  },
  'a release': {
    valid: [encodeRelease(releaseOf(parseAppFile(JSON.stringify(APP)), BUNDLE)).bytes],
    read: ([bytes]) => decodeRelease(bytes as Buffer)
  },
  'a list of chunks': {
    valid: [encodeChunkList([{ hash, size: 7 }])],
    read: ([list]) => decodeChunkList(list as Buffer)
  },
  'the head of a program': {
    valid: [Buffer.from(`7f454c4602010100${'00'.repeat(8)}03003e00`, 'hex')],
    read: ([head]) => platformsOfHead(head as Buffer)
  },
  'frames about chunks': {
    valid: [Buffer.concat(FRAMES.flatMap(encodeChunkFrame))],
    read: ([input]) => {
      const frames: ChunkFrame[] = []
      const onframe = (frame: ChunkFrame) => frames.push(frame)
      const decode = (bytes: Buffer, start: number, end: number) =>
        decodeChunkFrame(bytes.subarray(start, end))
      new FrameReader({ maxBytes: MAX_FRAME_BYTES, decode, onframe }).push(input as Buffer)
      return frames
    }
  },
  'a stream of chunks': {
    valid: FRAMES.map((frame) => Buffer.concat(encodeChunkFrame(frame))),
    read: (pieces) => {
      const stream = idleStream()
      const peer = new ChunkPeer({ stream, key: hash })
      peer.on('want', (want) => want.give(async () => Buffer.from('a chunk')))
      let reason: Error | null = null
      peer.on('close', (error) => {
        reason = error
      })
      peer.open()
      for (const piece of pieces) stream.receiveData(piece)
      if (reason) throw reason
      peer.end()
    }
  },
  'a bundle that is unpacked': {
    valid: [Buffer.concat(ARCHIVE)],
    read: async ([archive]) => {
      const folder = await mkdtemp(join(tmpdir(), 'hyperseaport-fuzz-'))
      try {
        await unpack([archive as Buffer], join(folder, 'app'))
      } finally {
        await rm(folder, { recursive: true })
      }
    },
    isSlow: true
  }
}
