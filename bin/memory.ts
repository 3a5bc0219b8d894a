import { setFlagsFromString } from 'node:v8'

/**
 * Streams that pass through leave short-lived buffers behind. V8 answers by letting its young generation
 * grow, for a little speed and up to 30 MiB in a process that runs for months beside others (measured
 * with 512 MB each way through a proxy). It stays small here.
 */
setFlagsFromString('--semi-space-growth-factor=1')
