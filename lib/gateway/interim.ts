/** More than any service has a use for. */
const MAX_INTERIM_ANSWERS = 64

/** Counts the interim answers to one request, and says which of them its client gets. */
export class InterimAnswers {
  #count = 0
  #attempt = 0

  /** Whether any came. */
  get hasCome(): boolean {
    return this.#count > 0
  }

  /**
   * Whether to pass one on. When a request is sent again, those to the second attempt repeat what the client knows.
   *
   * @param attempt how often the request was sent
   * @throws SyntaxError if there are too many
   */
  admit(attempt: number): boolean {
    this.#count++
    if (this.#count > MAX_INTERIM_ANSWERS) {
      throw new SyntaxError(`more than ${MAX_INTERIM_ANSWERS} interim answers`)
    }
    this.#attempt ||= attempt
    return this.#attempt === attempt
  }
}
