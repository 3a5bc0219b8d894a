/**
 * How many apps a registry takes by default, removed ones apart. In a file of its own, since the command line shows
 * it in its help, which must not load the stack below.
 */
export const MAX_APPS = 1000
