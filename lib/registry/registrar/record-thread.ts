/** A thread that verifies records: lists of them as JSON come in, and as many answers go out. */
import { parentPort } from 'node:worker_threads'
import { verifyRecord } from '../trust/record.js'

parentPort?.on('message', (list: string[]) => {
  parentPort?.postMessage(list.map((json) => verifyRecord(JSON.parse(json))))
})
