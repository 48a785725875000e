/** The AWS CDK app: `npx cdk deploy`, with the values of cdk.json or `-c name=value`. */
import { App } from 'aws-cdk-lib';
import { makeApp } from './stacks.ts';

makeApp(new App({ analyticsReporting: false })).app.synth();
