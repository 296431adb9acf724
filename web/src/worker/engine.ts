/** The network in onnxruntime-web: threads and SIMD where the page is isolated, one thread elsewhere; proved before use. */

import * as ort from 'onnxruntime-web/wasm'

import { ModelError } from '../pipeline/errors'
import { voxelCount } from '../pipeline/grid'
import type { Model } from '../pipeline/model'
import type { Predict } from '../pipeline/predict'

/** Threads beyond these help little and each needs memory of its own. */
const MOST_THREADS = 8

export interface Engine {
  readonly predict: Predict
  readonly threads: number
  /** Largest difference from the golden probabilities. */
  readonly goldenDifference: number
  readonly close: () => Promise<void>
}

/** Fetches one of the model's files. */
export type Fetch = (file: string) => Promise<ArrayBuffer>

/** Where the WebAssembly files are; left out where the runtime finds them itself, as in tests. */
export interface Runtime {
  readonly mjs: string
  readonly wasm: string
}

/** Opens an engine and proves it: the files have the hashes that the model states, and the golden pair comes out. */
export async function openEngine(model: Model, fetchFile: Fetch, runtime?: Runtime): Promise<Engine> {
  const threads = threadCount()
  ort.env.wasm.numThreads = threads
  if (runtime) ort.env.wasm.wasmPaths = runtime
  const graph = await proved(model.graph.file, model.graph.sha256, fetchFile)
  const golden = await proved(model.golden.file, model.golden.sha256, fetchFile)
  const session = await ort.InferenceSession.create(new Uint8Array(graph), {
    executionProviders: ['wasm'],
    graphOptimizationLevel: 'all',
  })
  const input = session.inputNames[0] as string
  const output = session.outputNames[0] as string
  const predict: Predict = async (batch, shape) => {
    const answers = await session.run({ [input]: new ort.Tensor('float32', batch, shape) })
    const answer = answers[output]
    const expected = [...shape.slice(0, 3), 4].join()
    if (answer?.dims.join() !== expected) throw new ModelError(`The graph answers with the shape ${answer?.dims.join()}; it would be ${expected}.`)
    const values = (answer.data as Float32Array).slice()
    answer.dispose()
    return values
  }
  const close = () => session.release()
  try {
    return { predict, threads, goldenDifference: await prove(model, predict, new Float32Array(golden)), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Returns how many threads can be used: one where the page is not isolated from other origins. */
export function threadCount(): number {
  return globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, Math.max(1, navigator.hardwareConcurrency || 1)) : 1
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

async function prove(model: Model, predict: Predict, values: Float32Array): Promise<number> {
  const { input, output, tolerance } = model.golden
  const split = voxelCount(input)
  const answer = await predict(values.slice(0, split), input as unknown as [number, number, number, number])
  const expected = values.subarray(split)
  let difference = answer.length === voxelCount(output) ? 0 : Infinity
  for (let n = 0; n < expected.length; n++) difference = Math.max(difference, Math.abs((answer[n] as number) - (expected[n] as number)))
  // Written so that a NaN fails too.
  if (!(difference <= tolerance)) {
    throw new ModelError(
      `Model '${model.name}': onnxruntime-web does not reproduce its golden pair: probabilities differ by up to ${difference.toPrecision(2)}, ` +
        `${tolerance} is allowed. Use another browser, or the command line.`,
    )
  }
  return difference
}
