/** The worker: reads a case, runs the network and hands the results back. The page cancels by ending it. */

import wasmUrl from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url'
import mjsUrl from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url'
import gpuWasmUrl from 'onnxruntime-web/ort-wasm-simd-threaded.jspi.wasm?url'
import gpuMjsUrl from 'onnxruntime-web/ort-wasm-simd-threaded.jspi.mjs?url'

import { caseOf } from '../pipeline/case'
import { InputError, ModelError, OtherGridError } from '../pipeline/errors'
import { type Triple, voxelMl } from '../pipeline/grid'
import type { Model } from '../pipeline/model'
import { type NiftiVolume, readNifti } from '../pipeline/nifti'
import { labelMapFile, measure, reportHtml, type RunFacts, runRecord, volumesTsv } from '../pipeline/results'
import { segment } from '../pipeline/segment'
import { namedAsBrats2023, type Sequence, stem } from '../pipeline/sequences'
import { text } from '../text/en'
import { openEngine, ways } from './choose'
import { type Engine, proved, sha256 } from './engine'
import type { Answer, Done, Failed, Job, Progress } from './messages'

/** How browsers and the runtime say that memory is not to be had. */
const OUT_OF_MEMORY = /out of memory|allocation failed|cannot allocate|bad_alloc|could not allocate|memory access out of bounds|\bOOM\b/i

const from = (mjs: string, wasm: string) => ({ mjs: new URL(mjs, import.meta.url).href, wasm: new URL(wasm, import.meta.url).href })
const RUNTIMES = { wasm: from(mjsUrl, wasmUrl), webgpu: from(gpuMjsUrl, gpuWasmUrl) }

const say = (answer: Answer) => self.postMessage(answer)

self.onmessage = async (event: MessageEvent<Job>) => {
  try {
    say(await run(event.data))
  } catch (error) {
    say(failure(error))
  }
}

async function run(job: Job): Promise<Done> {
  const report = (stage: Progress['stage'], done: number, total: number, seconds = 0, onCard = false) => {
    const secondsLeft = stage === 'network' && done ? (seconds / done) * (total - done) : null
    say({ kind: 'progress', stage, done, total, onCard, seconds, secondsLeft })
  }
  const read = new Map<Sequence, NiftiVolume>()
  const inputs = new Map<Sequence, { name: string; sha256: string }>()
  for (const [sequence, file] of job.files) {
    report('reading', read.size, job.files.size)
    read.set(sequence, await readNifti(file.name, file))
    inputs.set(sequence, { name: file.name, sha256: await sha256(await file.arrayBuffer()) })
  }
  const one = caseOf(job.caseId, read)
  read.clear()
  report('model', 0, 1)
  const model = (await (await fetched(job.base, 'model/model.json')).json()) as Model
  const fetchFile = async (file: string) => (await fetched(job.base, `model/${file}`)).arrayBuffer()
  const { outline } = model
  const bits = new Uint8Array(await proved(outline.file, outline.sha256, fetchFile))
  const engine = await openEngine(model, job.wanted, ways(model, fetchFile, RUNTIMES))
  try {
    const began = performance.now()
    const average = { bits, shape: [...outline.shape] as Triple, mm: outline.mm }
    const tell = (done: number, total: number) =>
      report('network', done, total, (performance.now() - began) / 1000, engine.computing().provider === 'webgpu')
    tell(0, 1)
    const result = await segment(one, model, engine.predict, average, tell)
    const { grid } = one
    const volumes = measure(result.labels, voxelMl(grid))
    const made = facts(engine, inputs)
    const downloads = await downloadsOf(one, model, result, made)
    const { name, title, gliomask } = model
    const about = { model: { name, title, gliomask }, facts: made }
    return { kind: 'done', result, volumes, shape: grid.shape, affine: grid.affine, about, downloads }
  } finally {
    await engine.close()
  }
}

function facts(engine: Engine, inputs: RunFacts['inputs']): RunFacts {
  const stems = [...inputs.values()].map((file) => stem(file.name))
  return {
    finished: new Date().toISOString().replace(/\.\d+Z$/, '+00:00'),
    browser: navigator.userAgent,
    computing: engine.computing(),
    convention: namedAsBrats2023(stems) ? 'brats2023' : 'brats2021',
    inputs,
  }
}

async function downloadsOf(...[one, model, result, run]: Parameters<typeof runRecord>): Promise<Map<string, Blob>> {
  const file = (content: string, type: string) => new Blob([content], { type: `${type};charset=utf-8` })
  return new Map([
    [`${one.id}_seg.nii.gz`, await labelMapFile(one.header, result.labels, run.convention)],
    [`${one.id}_volumes.tsv`, file(volumesTsv(measure(result.labels, voxelMl(one.grid))), 'text/tab-separated-values')],
    [`${one.id}_run.json`, file(`${JSON.stringify(runRecord(one, model, result, run), null, 1)}\n`, 'application/json')],
    [`${one.id}_report.html`, file(reportHtml(one, model, result, run), 'text/html')],
  ])
}

async function fetched(base: string, path: string): Promise<Response> {
  const response = await fetch(new URL(path, base)).catch(() => null)
  if (!response?.ok) throw new ModelError(`${path} cannot be loaded (${response?.status ?? 'no answer'}). Check that the application's folder is whole.`)
  return response
}

function failure(error: unknown): Failed {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof OtherGridError) return { kind: 'failed', cause: 'input', message: `${message} ${text.rawGrids}` }
  if (error instanceof InputError) return { kind: 'failed', cause: 'input', message }
  if (error instanceof ModelError) return { kind: 'failed', cause: 'model', message }
  if (error instanceof RangeError || OUT_OF_MEMORY.test(message)) return { kind: 'failed', cause: 'memory', message: text.outOfMemory(message) }
  return { kind: 'failed', cause: 'other', message }
}
