/** Regular expressions of Python's as JavaScript's. */

const WORD = '\\p{L}\\p{N}_'
const EDGE = `(?:(?<![${WORD}])(?=[${WORD}])|(?<=[${WORD}])(?![${WORD}]))`

/** Compiles an expression of Python's: its `\\w`, `\\W` and `\\b` know the letters of all scripts, JavaScript's those of English. */
export function pattern(source: string, flags = ''): RegExp {
  return new RegExp(source.replaceAll('\\w', `[${WORD}]`).replaceAll('\\W', `[^${WORD}]`).replaceAll('\\b', EDGE), `u${flags}`)
}
