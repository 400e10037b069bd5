import { expect } from "chai";
import { Command } from "commander";

import { addTrainingOptions, trainingSettings, type RecipeOptions } from "../../offchain/cli/training-options.ts";
import { DEFAULT_TRAINING_SETTINGS, PAPER_TRAINING_SETTINGS } from "../../offchain/training/settings.ts";

function settingsOf(line: string): ReturnType<typeof trainingSettings> {
  const silent = { writeErr: () => undefined };
  const command = addTrainingOptions(new Command("train")).exitOverride().configureOutput(silent);
  command.parse(line === "" ? [] : line.split(" "), { from: "user" });
  return trainingSettings(command.opts<RecipeOptions>());
}

describe("the options of a training recipe", () => {
  it("without any are the default recipe, and one option is the paper's", () => {
    expect(settingsOf("")).to.deep.equal(DEFAULT_TRAINING_SETTINGS);
    expect(settingsOf("--recipe paper")).to.deep.equal(PAPER_TRAINING_SETTINGS);
  });

  it("name nothing that they do not change, so that published recipes keep their bytes", () => {
    const bare = '{"epochs":5,"batch":64,"optimizer":"adam","learningRate":0.003,"schedule":"cosine"}';
    expect(JSON.stringify(settingsOf("--epochs 5 --batch 64"))).to.equal(bare);
    expect(JSON.stringify(settingsOf("--epochs 5 --batch 64 --weight-decay 0 --dropout 0 --shift 0"))).to.equal(bare);
    expect(settingsOf("--recipe paper --weight-decay 0")).to.not.have.property("weightDecay");
  });

  it("replace the recipe's values", () => {
    const line =
      "--recipe paper --epochs 7 --batch 32 --learning-rate 0.05 --momentum 0 --weight-decay 1e-3 " +
      "--schedule step:10:0.1 --dropout 0.5 --shift 2 --flip --early-stop 4";
    expect(settingsOf(line)).to.deep.equal({
      epochs: 7,
      batch: 32,
      optimizer: "sgd",
      learningRate: 0.05,
      schedule: { every: 10, factor: 0.1 },
      momentum: 0,
      weightDecay: 1e-3,
      dropout: 0.5,
      augmentation: { shift: 2, flip: true },
      earlyStop: { patience: 4 },
    });
    expect(settingsOf("--schedule constant").schedule).to.equal("constant");
    expect(settingsOf("--flip").augmentation).to.deep.equal({ shift: 0, flip: true });
  });

  it("give another optimiser its own usual learning rate", () => {
    expect(settingsOf("--optimizer sgd")).to.include({ optimizer: "sgd", learningRate: 0.01 });
    const adam = settingsOf("--recipe paper --optimizer adam");
    expect(adam).to.include({ optimizer: "adam", learningRate: 0.003 });
    expect(adam).to.not.have.property("momentum");
    expect(settingsOf("--optimizer sgd --learning-rate 0.1").learningRate).to.equal(0.1);
  });

  const refused: Record<string, RegExp> = {
    "--momentum 0.5": /^--momentum goes with --optimizer sgd: adam has its own\.$/,
    "--recipe paper --optimizer adam --momentum 0.5": /^--momentum goes with --optimizer sgd/,
    "--optimizer sgd --momentum 1": /^--momentum takes a number from 0 to below 1, not "1"\.$/,
    "--optimizer lion": /optimizer <name>' argument 'lion' is invalid/,
    "--learning-rate 0": /^--learning-rate takes a number above 0, not "0"\.$/,
    "--learning-rate Infinity": /^--learning-rate takes a number above 0/,
    "--learning-rate fast": /^--learning-rate takes a number above 0, not "fast"\.$/,
    "--weight-decay 2": /^--weight-decay takes a number from 0 to 1, not "2"\.$/,
    "--dropout 1": /^--dropout takes a number from 0 to below 1, not "1"\.$/,
    "--shift 9": /^--shift takes a whole number from 0 to 8, not "9"\.$/,
    "--early-stop 0": /^--early-stop takes a whole number from 1 to 10000, not "0"\.$/,
    "--schedule step": /^--schedule takes cosine, constant, or step:EPOCHS:FACTOR such as step:10:0.1, not "step"\.$/,
    "--schedule step:0:0.5": /^--schedule takes/,
    "--schedule step:3:2": /^--schedule takes/,
    "--schedule step:3:0": /^--schedule takes/,
    "--epochs 0": /^--epochs takes a whole number from 1 to 10000, not "0"\.$/,
    "--batch 5000": /^--batch takes a whole number from 1 to 4096, not "5000"\.$/,
    "--recipe secret": /recipe <name>' argument 'secret' is invalid/,
  };
  for (const [line, sentence] of Object.entries(refused)) {
    it(`refuse ${line} in one sentence`, () => {
      expect(() => settingsOf(line)).to.throw(sentence);
    });
  }
});
