import { runRoom } from './rooms.js'

await runRoom('outages')
