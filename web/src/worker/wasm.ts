/** The network on the processor: WebAssembly with SIMD, with threads where the page is isolated from other origins. */

import * as ort from 'onnxruntime-web/wasm'

import type { Model } from '../pipeline/model'
import type { Fetch, Runtime } from './engine'
import { openSession, type Session } from './session'

/** Threads beyond these help little and each needs memory of its own. */
const MOST_THREADS = 8

/** Returns how many threads can be used: one where the page is not isolated from other origins. */
export function threadCount(): number {
  return globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, Math.max(1, navigator.hardwareConcurrency || 1)) : 1
}

/** In eight bits where the model has them: a third quicker (docs/decisions/0022-browser.md). */
export function precisionOf(model: Model): 'fp32' | 'int8' {
  return model.int8 ? 'int8' : 'fp32'
}

export async function openWasm(model: Model, fetchFile: Fetch, runtime?: Runtime): Promise<Session> {
  ort.env.wasm.numThreads = threadCount()
  if (runtime) ort.env.wasm.wasmPaths = runtime
  return openSession(ort, 'wasm', model, precisionOf(model), fetchFile, 'onnxruntime-web')
}
