/** One OpenSearch node that also runs ingest pipelines: OpenSearchNode FOLDER PORT; transport on PORT + 1. */
import org.codelibs.opensearch.runner.OpenSearchRunner;

public class OpenSearchNode {
  public static void main(String[] arguments) throws Exception {
    int port = Integer.parseInt(arguments[1]);
    OpenSearchRunner runner = new OpenSearchRunner();
    // The runner opens the first free port above its base, up to this.
    runner.setMaxHttpPort(port + 1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        runner.close();
      } catch (Exception error) {
        error.printStackTrace();
      }
    }));
    try {
      runner.onBuild((number, settings) -> {
        settings.put("network.host", "127.0.0.1");
        settings.put("transport.port", String.valueOf(port + 1));
        settings.put("discovery.type", "single-node");
        settings.putList("node.roles", "cluster_manager", "data", "ingest");
        for (String name : new String[] {"cluster.initial_cluster_manager_nodes", "cluster.initial_master_nodes", "discovery.seed_hosts"}) {
          settings.remove(name);
        }
      }).build(OpenSearchRunner.newConfigs().basePath(arguments[0]).numOfNode(1).baseHttpPort(port - 1).clusterName("daybook-test"));
    } catch (Throwable error) {
      error.printStackTrace();
      System.exit(1);
    }
    Thread.currentThread().join();
  }
}
