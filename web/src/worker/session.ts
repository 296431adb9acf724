/** A network in a runtime of onnxruntime-web, proved before use. */

import type * as Ort from 'onnxruntime-web'

import { ModelError } from '../pipeline/errors'
import type { Model } from '../pipeline/model'
import type { Predict } from '../pipeline/predict'
import { type Fetch, prove, proved } from './engine'

export interface Session {
  readonly predict: Predict
  readonly goldenDifference: number
  readonly close: () => Promise<void>
}

/**
 * Opens a graph and proves it: the files have the hashes that the model states, and the golden pair comes out.
 *
 * @param what the runtime, for messages.
 */
export async function openSession(
  ort: typeof Ort,
  provider: 'wasm' | Ort.InferenceSession.WebGpuExecutionProviderOption,
  model: Model,
  precision: 'fp32' | 'int8',
  fetchFile: Fetch,
  what: string,
): Promise<Session> {
  const graph = precision === 'int8' && model.int8 ? model.int8 : model.graph
  const session = await ort.InferenceSession.create(new Uint8Array(await proved(graph.file, graph.sha256, fetchFile)), {
    executionProviders: [provider],
    graphOptimizationLevel: 'all',
  })
  const input = session.inputNames[0] as string
  const output = session.outputNames[0] as string
  const predict: Predict = async (batch, shape) => {
    const given = new ort.Tensor('float32', batch, shape)
    const answers = await session.run({ [input]: given })
    const answer = answers[output]
    const expected = [...shape.slice(0, 3), 4].join()
    if (answer?.dims.join() !== expected) throw new ModelError(`The graph answers with the shape ${answer?.dims.join()}; it would be ${expected}.`)
    const values = (answer.data as Float32Array).slice()
    answer.dispose()
    given.dispose()
    return values
  }
  const close = () => session.release()
  try {
    return { predict, goldenDifference: await prove(model, predict, fetchFile, precision, what), close }
  } catch (error) {
    await close()
    throw error
  }
}
