/** A thread that verifies signatures of letters: they come in one after the other, and as many answers go out. */
import { parentPort } from 'node:worker_threads'
import { isSignatureValid } from './letter.js'
import { unpackSignatures } from './letter-verifier.js'

parentPort?.on('message', (packed: Uint8Array) => {
  parentPort?.postMessage(unpackSignatures(packed).map(isSignatureValid))
})
