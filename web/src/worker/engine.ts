/** What runs the network, whatever it runs on, and its proof before use. */

import { ModelError } from '../pipeline/errors'
import { voxelCount } from '../pipeline/grid'
import type { Model } from '../pipeline/model'
import type { Predict } from '../pipeline/predict'
import type { Computing } from '../pipeline/results'

export interface Engine {
  readonly predict: Predict
  /** What it computes on and how well it reproduced the golden pair; may change while it works. */
  readonly computing: () => Computing
  readonly close: () => Promise<void>
}

/** Fetches one of the model's files. */
export type Fetch = (file: string) => Promise<ArrayBuffer>

/** Where a runtime's WebAssembly files are; left out where the runtime finds them itself, as in tests. */
export interface Runtime {
  readonly mjs: string
  readonly wasm: string
}

/** Returns the SHA-256 of bytes, in hexadecimal. */
export async function sha256(bytes: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Fetches a file and proves that it is the one that the model names. */
export async function proved(file: string, expected: string, fetchFile: Fetch): Promise<ArrayBuffer> {
  const bytes = await fetchFile(file)
  if ((await sha256(bytes)) !== expected) throw new ModelError(`The model's file ${file} was altered on its way. Load the page again.`)
  return bytes
}

/**
 * Runs the golden input and returns how far the answer is from the golden probabilities: the largest difference; in int8 the mean,
 * because a value that rounds the other way early in the network may move a single pixel far.
 *
 * @throws ModelError the answer differs by more than the model allows.
 */
export async function prove(model: Model, predict: Predict, fetchFile: Fetch, precision: 'fp32' | 'int8', what: string): Promise<number> {
  const { input, output, tolerance } = model.golden
  const values = new Float32Array(await proved(model.golden.file, model.golden.sha256, fetchFile))
  const split = voxelCount(input)
  const answer = await predict(values.slice(0, split), input as unknown as [number, number, number, number])
  const expected = values.subarray(split)
  const mean = precision === 'int8'
  const allowed = mean ? (model.int8?.tolerance ?? 0) : tolerance
  let difference = answer.length === voxelCount(output) ? 0 : Infinity
  for (let n = 0; n < expected.length; n++) {
    const one = Math.abs((answer[n] as number) - (expected[n] as number))
    // Written so that a NaN stays one.
    difference = mean ? difference + one / expected.length : one <= difference ? difference : one
  }
  // Written so that a NaN fails too.
  if (!(difference <= allowed)) {
    throw new ModelError(
      `Model '${model.name}': ${what} does not reproduce its golden pair: probabilities differ by ` +
        `${mean ? '' : 'up to '}${difference.toPrecision(2)}${mean ? ' in the mean' : ''}, ${allowed} is allowed. Use another browser, or the command line.`,
    )
  }
  return difference
}
